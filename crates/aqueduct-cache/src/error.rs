pub use aqueduct_core::ConfigError;
