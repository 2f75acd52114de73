//! The one integration test binary; each module is a subject.

mod clips;
mod config;
mod files;
mod fixture;
mod models;
mod store;
