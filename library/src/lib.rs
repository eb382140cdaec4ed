//! The library that hosts load, `phonegate.dll` or `libphonegate.so`: the exports of `phonegate::abi`.
//!
//! It is a separate package because cargo applies `lto` only to a library that no other crate can link, and so that the
//! tool does not contain its resources.

pub use exported::abi::*;
