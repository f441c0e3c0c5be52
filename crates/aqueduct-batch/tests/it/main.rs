//! Chunks and their failures, checkpoints and the way back, and the set of finished numbers against a naive model.

#![cfg(test)]

mod bisect;
mod checkpoints;
mod finished;
mod flow;
mod limits;
mod support;
