//! Nothing here: see `benches/`. Run by `cargo xtask bench micro`.
