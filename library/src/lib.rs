//! The library that hosts load, `phonegate.dll` or `libphonegate.so`: the exports of `phonegate::abi`.
//!
//! It is a package of its own since cargo optimizes a library as a whole (`lto`) only where no other crate can link it,
//! and so that its resources stay out of the tool.

pub use exported::abi::*;
