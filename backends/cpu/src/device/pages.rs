//! Executable memory: written first, then executable and never writable again.

use std::ptr::NonNull;

/// Pages that hold code. Unmapped when dropped.
#[derive(Debug)]
pub(super) struct Pages {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the pages are never written after construction.
unsafe impl Send for Pages {}
// SAFETY: as above.
unsafe impl Sync for Pages {}

impl Pages {
    /// A copy of `code` in executable memory.
    #[cfg(unix)]
    pub(super) fn new(code: &[u8]) -> std::io::Result<Pages> {
        let len = code.len().max(1);
        // SAFETY: a fresh anonymous mapping of a size that is not zero.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                len,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANON,
                -1,
                0,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(std::io::Error::last_os_error());
        }
        let Some(start) = NonNull::new(start.cast::<u8>()) else {
            return Err(std::io::Error::other("mapped at address 0"));
        };
        let pages = Pages { start, len };
        // SAFETY: the mapping is at least as long as the code, and nobody else knows it yet.
        unsafe { std::ptr::copy_nonoverlapping(code.as_ptr(), start.as_ptr(), code.len()) };
        // SAFETY: the whole mapping, which is ours.
        let status = unsafe {
            libc::mprotect(
                start.as_ptr().cast(),
                len,
                libc::PROT_READ | libc::PROT_EXEC,
            )
        };
        if status != 0 {
            return Err(std::io::Error::last_os_error());
        }
        #[cfg(target_arch = "aarch64")]
        clear_cache(start.as_ptr(), len);
        Ok(pages)
    }

    /// No executable memory on systems without `mmap`.
    #[cfg(not(unix))]
    pub(super) fn new(_code: &[u8]) -> std::io::Result<Pages> {
        Err(std::io::Error::from(std::io::ErrorKind::Unsupported))
    }

    /// The first byte.
    pub(super) fn start(&self) -> *const u8 {
        self.start.as_ptr()
    }
}

/// Makes new code visible to instruction fetches on this core; a system call or thread start
/// orders the others.
#[cfg(target_arch = "aarch64")]
fn clear_cache(start: *const u8, len: usize) {
    unsafe extern "C" {
        fn __clear_cache(start: *mut libc::c_char, end: *mut libc::c_char);
    }
    // SAFETY: the range is mapped.
    unsafe { __clear_cache(start.cast_mut().cast(), start.add(len).cast_mut().cast()) };
}

impl Drop for Pages {
    fn drop(&mut self) {
        #[cfg(unix)]
        // SAFETY: mapped in `new` with this length; code in it runs only while the owner lives.
        unsafe {
            libc::munmap(self.start.as_ptr().cast(), self.len);
        }
    }
}
