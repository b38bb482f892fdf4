//! The HTTP shape protocol as its published clients need it, one file per subject.

mod admission;
mod arrow;
mod bodies;
mod chunks;
mod compression;
mod description;
mod events;
mod examples;
mod handles;
mod headers;
mod immutable;
mod live;
mod loading;
mod messages;
mod recorded;
mod rows;
mod subsets;
mod validation;
