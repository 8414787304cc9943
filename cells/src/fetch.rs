//! Asking memory for a line before it is needed.

#![allow(unsafe_code, reason = "the instruction is no part of safe Rust")]

/// Asks for the lines at these addresses and waits for none. An address may point anywhere: nothing
/// is read that the program could see. Does nothing on machines without such an instruction.
pub(crate) fn fetch(lines: &[*const u8]) {
    #[cfg(target_arch = "x86_64")]
    for line in lines {
        // SAFETY: every x86-64 has SSE; a prefetch never faults and changes no value.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(line.cast());
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = lines;
}
