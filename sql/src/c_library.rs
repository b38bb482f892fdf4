//! The one function that has to be asked of the C library by name.
//!
//! *Enters*: a float. *Leaves*: its cube root, as this machine's C library computes it, and so Postgres. *Invariant*:
//! the only unsafe code of the workspace is the declaration of what C's own headers declare: `double cbrt(double)`,
//! which takes any float and touches nothing else.
//!
//! `f64::cbrt` is linked to the function that comes with Rust, whose results differ in the last bit from glibc's for
//! every other argument; that one is found only with the version glibc gave it. Elsewhere Rust's is used, and Postgres is
//! asked whether it agrees, as it is anyway ([`crate::mathematics`]).

#[cfg(all(
    target_os = "linux",
    target_env = "gnu",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64")
))]
mod linked {
    #[allow(unsafe_code)]
    unsafe extern "C" {
        // The first version for this architecture, of all there have been.
        #[cfg_attr(target_arch = "x86_64", link_name = "cbrt@GLIBC_2.2.5")]
        #[cfg_attr(target_arch = "aarch64", link_name = "cbrt@GLIBC_2.17")]
        pub(crate) safe fn cbrt(x: f64) -> f64;
    }
}

#[cfg(not(all(
    target_os = "linux",
    target_env = "gnu",
    target_pointer_width = "64",
    any(target_arch = "x86_64", target_arch = "aarch64")
)))]
mod linked {
    pub(crate) fn cbrt(x: f64) -> f64 {
        x.cbrt()
    }
}

pub(crate) use linked::cbrt;
