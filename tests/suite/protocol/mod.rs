//! The HTTP shape protocol as its published clients need it, one file per subject.

mod chunks;
mod examples;
mod handles;
mod headers;
mod live;
mod loading;
mod messages;
mod recorded;
mod rows;
mod subsets;
