//! The one integration test binary; each module is a subject.

mod clips;
mod files;
mod fixture;
mod store;
