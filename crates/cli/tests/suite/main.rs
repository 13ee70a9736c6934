//! The command line as scripts use it: exit codes, JSON, files, and what must not change a bit.

mod artifacts;
mod bisect;
mod documentation;
mod fusion;
mod logs;
mod memory;
mod support;
mod targets;
mod tune;
mod verbs;
