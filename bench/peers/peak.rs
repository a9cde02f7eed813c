//! What the processor could do at most, as measured, and what a network asks of it.

#![allow(dead_code, reason = "no benchmark uses all of it")]

use lots_nn::{LayerId, Network};
use std::hint::black_box;
use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

/// How long one measurement takes: short, so that it can be repeated beside the work while the machine's speed drifts.
const SPAN: Duration = Duration::from_millis(20);
/// Steps of all chains between two looks at the clock.
const STEPS: usize = 10_000;
/// Chains of multiply-adds that do not wait for each other: more than latency times pipes, fewer than registers.
const CHAINS: usize = 12;

/// Multiplications and additions a second that `threads` threads reach together when they do nothing but multiply and add
/// what lies in registers, single precision.
pub(crate) fn peak(threads: usize) -> f64 {
    let (start, (_, multiply_add)) = (Barrier::new(threads), best());
    let one = || {
        start.wait();
        let (clock, mut operations) = (Instant::now(), 0);
        while clock.elapsed() < SPAN {
            operations += multiply_add();
        }
        operations as f64 / clock.elapsed().as_secs_f64()
    };
    std::thread::scope(|scope| {
        let running: Vec<_> = (0..threads).map(|_| scope.spawn(one)).collect();
        running.into_iter().map(|thread| thread.join().unwrap()).sum()
    })
}

/// Seconds that a cache line takes from one thread to another. A virtual machine's processors are moved: now they share a cache,
/// now they do not.
pub(crate) fn handover() -> f64 {
    const TIMES: u32 = 20_000;
    let word = AtomicU32::new(0);
    // One writes the odd numbers, the other the even ones, each when it has seen the one before.
    let count = |first: u32| {
        for number in (first..2 * TIMES).step_by(2) {
            while word.load(Ordering::Acquire) != number {
                std::hint::spin_loop();
            }
            word.store(number + 1, Ordering::Release);
        }
    };
    let clock = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| count(1));
        count(0);
    });
    clock.elapsed().as_secs_f64() / f64::from(2 * TIMES)
}

/// The best instruction set that there is, and what multiplies and adds with it and tells how many operations they were.
pub(crate) fn best() -> (&'static str, fn() -> usize) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::is_x86_feature_detected as has;
        if has!("avx512f") {
            // SAFETY: the instruction set was detected.
            return ("AVX-512", || unsafe { x86::avx512() });
        }
        if has!("avx2") && has!("fma") {
            // SAFETY: as above.
            return ("AVX2", || unsafe { x86::avx2() });
        }
    }
    (std::env::consts::ARCH, portable)
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{CHAINS, STEPS, black_box};
    use std::arch::x86_64::*;

    macro_rules! chains {
        ($name:ident, $features:literal, $floats:literal, $splat:ident, $fma:ident) => {
            #[target_feature(enable = $features)]
            pub(super) fn $name() -> usize {
                let (a, b) = ($splat(black_box(0.5)), $splat(black_box(1.0)));
                let mut x = [a; CHAINS];
                for _ in 0..STEPS {
                    for x in &mut x {
                        *x = $fma(*x, a, b);
                    }
                }
                black_box(x);
                2 * $floats * CHAINS * STEPS
            }
        };
    }
    chains!(avx512, "avx512f", 16, _mm512_set1_ps, _mm512_fmadd_ps);
    chains!(avx2, "avx2,fma", 8, _mm256_set1_ps, _mm256_fmadd_ps);
}

/// As good as the compiler makes it.
fn portable() -> usize {
    const FLOATS: usize = 4;
    let (a, b) = (black_box(0.5f32), black_box(1.0f32));
    let mut x = [[a; FLOATS]; CHAINS];
    for _ in 0..STEPS {
        for x in x.as_flattened_mut() {
            // Fused where that is one instruction without asking.
            *x = if cfg!(target_arch = "aarch64") { x.mul_add(a, b) } else { *x * a + b };
        }
    }
    black_box(x);
    2 * FLOATS * CHAINS * STEPS
}

/// Multiplications and additions of one image's way to `layer`, by the weights of the layers up to there: each weight
/// multiplies once at every place of the output. A bias is no multiplication; of a layer without one this takes off one
/// weight an output channel too many. Ways with fewer multiplications, such as Winograd's, are counted as if they had all,
/// as is usual.
pub(crate) fn operations(network: &dyn Network, layer: LayerId) -> f64 {
    let layers = network.layers();
    let last = layers.iter().position(|l| l.id == layer).unwrap();
    let weighted = layers[..=last].iter().map(|layer| {
        let places: usize = match layer.operator.as_str() {
            "Conv" => layer.shape[1..].iter().product(),
            "Gemm" => 1,
            _ => return 0,
        };
        let channels = layer.shape[0];
        2 * (layer.parameters - channels) * places
    });
    weighted.sum::<usize>() as f64
}
