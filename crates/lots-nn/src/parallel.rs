//! Loops over all processor cores, or over one where the feature `parallel` is off.

#[cfg(feature = "parallel")]
use crate::team::{Loop, leads, together, with_loop};
use std::ops::Range;
#[cfg(feature = "parallel")]
use std::sync::{Mutex, PoisonError};

/// Calls `f` for 0..n, in parallel when asked for and built in. The calls must not depend on each other.
pub(crate) fn for_each(parallel: bool, n: usize, f: impl Fn(usize) + Send + Sync) {
    #[cfg(feature = "parallel")]
    if parallel && n > 1 {
        use rayon::prelude::*;
        return with_loop(|way| match way {
            Loop::Team(team) => team.run(n, &f),
            Loop::Pool => (0..n).into_par_iter().for_each(f),
            Loop::Alone => (0..n).for_each(f),
        });
    }
    let _ = parallel;
    (0..n).for_each(f);
}

/// So many floats are much.
pub(crate) const WORTH: usize = 1 << 17;

/// Whether a loop over so many floats is worth splitting (multiply-adds are cheaper: eight of them are one). Waking a thread costs some
/// microseconds; those of [`inside`] are awake.
pub(crate) fn worth(floats: usize) -> bool {
    const AWAKE: usize = 1 << 13;
    floats > if calls_loops() { AWAKE } else { WORTH }
}

/// Tasks that a loop is cut into, where it can be: they keep threads evenly busy.
pub(crate) const TASKS: usize = 16;

/// What of `0..n` belongs to `part` of `parts`, which are as even as can be.
pub(crate) fn share(n: usize, part: usize, parts: usize) -> Range<usize> {
    part * n / parts..(part + 1) * n / parts
}

/// Calls `f(number, chunk)` for each chunk of `size` items.
pub(crate) fn for_each_chunk<T: Send>(
    parallel: bool,
    data: &mut [T],
    size: usize,
    f: impl Fn(usize, &mut [T]) + Send + Sync,
) {
    let chunks: Vec<(usize, &mut [T])> = data.chunks_mut(size.max(1)).enumerate().collect();
    map(parallel, chunks, |(i, chunk)| f(i, chunk));
}

/// Calls `f` for each item and collects what it returns, in order.
pub(crate) fn map<T: Send, R: Send>(
    parallel: bool,
    items: Vec<T>,
    f: impl Fn(T) -> R + Send + Sync,
) -> Vec<R> {
    #[cfg(feature = "parallel")]
    if parallel && items.len() > 1 {
        use rayon::prelude::*;
        return with_loop(|way| match way {
            Loop::Team(team) => {
                let places: Vec<_> =
                    items.into_iter().map(|item| Mutex::new((Some(item), None))).collect();
                team.run(places.len(), &|i| {
                    // Each is locked once here: never poisoned, never waited for.
                    let mut place = places[i].lock().unwrap_or_else(PoisonError::into_inner);
                    place.1 = place.0.take().map(&f);
                });
                let done = places.into_iter().map(Mutex::into_inner);
                done.filter_map(|place| place.unwrap_or_else(PoisonError::into_inner).1).collect()
            }
            Loop::Pool => items.into_par_iter().map(f).collect(),
            Loop::Alone => items.into_iter().map(f).collect(),
        });
    }
    let _ = parallel;
    items.into_iter().map(f).collect()
}

/// Calls `f`, whose many short loops find the other threads awake.
pub(crate) fn inside<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    #[cfg(feature = "parallel")]
    return together(f);
    #[cfg(not(feature = "parallel"))]
    f()
}

/// Whether this thread is the one that calls the loops of [`inside`], and in none of them.
pub(crate) fn calls_loops() -> bool {
    #[cfg(feature = "parallel")]
    return leads();
    #[cfg(not(feature = "parallel"))]
    false
}

/// Threads that a parallel loop would use.
pub(crate) fn threads() -> usize {
    #[cfg(feature = "parallel")]
    return rayon::current_num_threads();
    #[cfg(not(feature = "parallel"))]
    1
}
