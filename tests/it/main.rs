//! The one integration test binary; each module is a subject.

mod api;
mod clips;
mod config;
mod desk;
mod docs;
mod files;
mod fixture;
mod models;
mod setup;
mod store;
mod tidy;
