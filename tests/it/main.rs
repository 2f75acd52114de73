//! The one integration test binary; each module is a subject.

mod accuracy;
mod api;
mod browser;
mod clips;
mod config;
mod daemon;
mod desk;
mod detectors;
mod docs;
mod files;
mod fixture;
mod i3d;
mod inspect;
mod models;
mod page;
mod program;
mod python;
mod provider;
mod rtsp;
mod rtsp_camera;
mod scorers;
mod setup;
mod store;
mod tidy;
mod views;
mod watching;
