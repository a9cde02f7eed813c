//! Loops over all processor cores, or over one where the feature `parallel` is off.

/// Calls `f` for each item and collects what it returns, in order. The calls must not depend on each other.
pub(crate) fn map<T: Send, R: Send>(items: Vec<T>, f: impl Fn(T) -> R + Send + Sync) -> Vec<R> {
    #[cfg(feature = "parallel")]
    if items.len() > 1 {
        use rayon::prelude::*;
        return items.into_par_iter().map(f).collect();
    }
    items.into_iter().map(f).collect()
}

/// Calls `f` on a thread of the pool: loop after loop is begun there without waking a thread each time.
pub(crate) fn inside<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    #[cfg(feature = "parallel")]
    return rayon::scope(|_| f());
    #[cfg(not(feature = "parallel"))]
    f()
}
