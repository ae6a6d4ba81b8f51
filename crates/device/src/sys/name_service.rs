//! Lookups of glibc in a static program.

/// Keeps lookups to what glibc has built in: files and DNS. Modules of nsswitch.conf(5) need the shared C library of the
/// machine; loaded into a static program they crash it.
#[cfg(all(target_env = "gnu", target_feature = "crt-static"))]
pub(crate) fn use_what_is_built_in() {
    use libc::{c_char, c_int};
    use std::ffi::CStr;

    unsafe extern "C" {
        // glibc's <nss.h>.
        fn __nss_configure_lookup(database: *const c_char, services: *const c_char) -> c_int;
    }
    let databases: [(&CStr, &CStr); 4] = [
        (c"hosts", c"files dns"),
        (c"passwd", c"files"),
        (c"group", c"files"),
        (c"initgroups", c"files"),
    ];
    for (database, services) in databases {
        // SAFETY: both strings are static and end with NUL; glibc takes a lock of its own. It fails for want of memory
        // alone, and leaves the database as it was.
        unsafe { __nss_configure_lookup(database.as_ptr(), services.as_ptr()) };
    }
}

/// Does nothing: the C library loads modules of its own version, or has none.
#[cfg(not(all(target_env = "gnu", target_feature = "crt-static")))]
pub(crate) fn use_what_is_built_in() {}
