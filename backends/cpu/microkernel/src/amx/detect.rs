//! Whether this process may use tiles. The standard library does not say.

/// Whether the CPU multiplies tiles of bf16 and bytes and rounds to bf16, the system keeps tiles
/// over a switch of threads, and this process has asked it to. Decided once.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
pub(crate) fn has_amx() -> bool {
    static FOUND: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    *FOUND.get_or_init(|| cpu_has_tiles() && system_keeps_tiles() && may_use_tiles())
}

#[cfg(not(all(target_arch = "x86_64", target_os = "linux")))]
pub(crate) fn has_amx() -> bool {
    false
}

/// Bits of leaf 7: products of bf16, tiles, products of bytes.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
const FEATURES: u32 = 1 << 22 | 1 << 24 | 1 << 25;
/// The bit of leaf 7, part 1: vectors rounded to bf16.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
const ROUNDING: u32 = 1 << 5;

/// The instructions, and tiles of the size that the kernels take.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn cpu_has_tiles() -> bool {
    use std::arch::x86_64::{__cpuid, __cpuid_count};
    if __cpuid(0).eax < 0x1e || __cpuid_count(7, 0).edx & FEATURES != FEATURES {
        return false;
    }
    // All processors with tiles have these; who runs this one may have hidden them.
    if __cpuid_count(7, 0).eax < 1 || __cpuid_count(7, 1).eax & ROUNDING == 0 {
        return false;
    }
    // Palette 1: bytes of a tile and number of tiles in the upper halves, bytes of a row, rows.
    let palette = __cpuid_count(0x1d, 1);
    let tile = (
        palette.eax >> 16,
        palette.ebx & 0xffff,
        palette.ecx & 0xffff,
    );
    // The multiplier: most rows of B, and most bytes of its rows.
    let multiplier = __cpuid_count(0x1e, 0).ebx;
    tile == (1024, 64, 16)
        && palette.ebx >> 16 >= 8
        && multiplier & 0xff >= 16
        && multiplier >> 8 & 0xffff >= 64
}

/// Whether the system saves the configuration and the data of tiles.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn system_keeps_tiles() -> bool {
    use std::arch::x86_64::{__cpuid, _xgetbv};
    const OSXSAVE: u32 = 1 << 27;
    const TILES: u64 = 1 << 17 | 1 << 18;
    #[target_feature(enable = "xsave")]
    fn enabled() -> u64 {
        // SAFETY: the system has enabled the instruction, as the caller checks.
        unsafe { _xgetbv(0) }
    }
    // SAFETY: `OSXSAVE` says that the instruction may be used.
    __cpuid(1).ecx & OSXSAVE != 0 && unsafe { enabled() } & TILES == TILES
}

/// Asks the system for the permission to use tile data, which holds for every thread.
#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
fn may_use_tiles() -> bool {
    const ARCH_REQ_XCOMP_PERM: libc::c_long = 0x1023;
    const TILE_DATA: libc::c_long = 18;
    // SAFETY: a plain system call without pointers; an old kernel refuses it.
    unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, TILE_DATA) == 0 }
}
