//! What the measurements share: the evidence items, running one arm as a process of its own, and pipelines against a
//! scripted backend.
//!
//! # When to use it
//!
//! Only from the files under `benches/`. Each of them states its question, its workload and what a good answer
//! looks like.
//!
//! ```
//! let mut item = Vec::new();
//! aqueduct_benches::evidence::write_item(&mut item, 7, &mut fastrand::Rng::with_seed(1));
//! assert!(item.ends_with(b"}\n"));
//! ```
//!
//! # Sources
//!
//! Alternating arms with an A/A control: Kalibera and Jones, "Rigorous benchmarking in reasonable time", ISMM
//! 2013.

pub mod arms;
pub mod calls;
pub mod evidence;
