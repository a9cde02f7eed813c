//! One plain loop, compiled once for each instruction set.

/// Declares a function whose body is compiled for each [`Isa`](super::Isa) and chosen by its first argument.
///
/// The body is ordinary safe Rust: the compiler vectorises it with what the instruction set offers.
macro_rules! versioned {
    ($(#[$doc:meta])* $vis:vis fn $name:ident $(<const $c:ident: usize>)? ($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$doc])*
        #[allow(clippy::too_many_arguments, reason = "generated for each instruction set")]
        $vis fn $name $(<const $c: usize>)? (isa: $crate::kernels::Isa, $($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            #[allow(clippy::too_many_arguments, reason = "generated for each instruction set")]
            fn body $(<const $c: usize>)? ($($arg: $ty),*) $(-> $ret)? $body
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512dq,avx2,fma")]
            #[allow(clippy::too_many_arguments, reason = "generated for each instruction set")]
            fn avx512 $(<const $c: usize>)? ($($arg: $ty),*) $(-> $ret)? { body $(::<$c>)? ($($arg),*) }
            #[cfg(target_arch = "x86_64")]
            #[target_feature(enable = "avx2,fma")]
            #[allow(clippy::too_many_arguments, reason = "generated for each instruction set")]
            fn avx2 $(<const $c: usize>)? ($($arg: $ty),*) $(-> $ret)? { body $(::<$c>)? ($($arg),*) }
            match isa {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: this variant exists only where the instruction set was detected (`Isa::available`).
                $crate::kernels::Isa::Avx512 => unsafe { avx512 $(::<$c>)? ($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                $crate::kernels::Isa::Avx2 => unsafe { avx2 $(::<$c>)? ($($arg),*) },
                #[cfg(target_arch = "aarch64")]
                // What the compiler makes of plain loops has NEON already.
                $crate::kernels::Isa::Neon => body $(::<$c>)? ($($arg),*),
                $crate::kernels::Isa::Portable => body $(::<$c>)? ($($arg),*),
            }
        }
    };
}

pub(crate) use versioned;
