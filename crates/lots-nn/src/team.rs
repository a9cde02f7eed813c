//! Threads that stay awake between loops.
//!
//! A network of a hundred short operators has a hundred short loops, and so has a step of training. A thread that goes to sleep behind
//! each of them must be woken for the next, which takes longer than the loop. Inside [`together`] the threads of the pool look out for the
//! next loop instead.

use crate::parallel::TASKS;
use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Looks at the next loop before a thread lets others have its processor in between.
const SPINS: usize = 2000;

/// What a thread has to do with a team.
#[derive(Clone, Copy)]
enum Place {
    Outside,
    /// Its loops are the team's.
    Leads(*const Team),
    /// It runs a part of a loop: loops inside are its own.
    Follows,
}

thread_local! {
    static PLACE: Cell<Place> = const { Cell::new(Place::Outside) };
}

/// Sets this thread's place until it is dropped.
struct Placed(Place);

impl Placed {
    fn new(place: Place) -> Self {
        Self(PLACE.replace(place))
    }
}

impl Drop for Placed {
    fn drop(&mut self) {
        PLACE.set(self.0);
    }
}

/// Calls `f` while the pool's other threads, up to [`TASKS`] in all, stay awake for its loops.
pub(crate) fn together<R>(f: impl FnOnce() -> R) -> R {
    let others = rayon::current_num_threads().min(TASKS) - 1;
    if others == 0 || !matches!(PLACE.get(), Place::Outside) {
        return f();
    }
    let team = Team::new(others + 1);
    let team = &team;
    rayon::in_place_scope(|scope| {
        for follower in 1..=others {
            scope.spawn(move |_| team.follow(follower));
        }
        let _over = Over(team);
        let _leads = Placed::new(Place::Leads(team));
        f()
    })
}

/// How a loop of this thread is run.
pub(crate) enum Loop<'a> {
    /// By the pool.
    Pool,
    /// By this thread alone.
    Alone,
    Team(&'a Team),
}

/// How a loop is run that this thread comes to now.
pub(crate) fn with_loop<R>(f: impl FnOnce(Loop<'_>) -> R) -> R {
    match PLACE.get() {
        Place::Outside => f(Loop::Pool),
        Place::Follows => f(Loop::Alone),
        // SAFETY: `together` holds the team until the thread's place has changed back.
        Place::Leads(team) => f(Loop::Team(unsafe { &*team })),
    }
}

/// Ends the others' watch, even when the leader panics.
struct Over<'a>(&'a Team);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::Release);
    }
}

/// One loop at a time, and the threads that share it: the leader, number 0, and its followers.
///
/// Each has a run of indices of its own, the same in every loop of that length: what it has written in one loop lies in its cache in the
/// next. Who is done takes from the ends of the others' runs.
pub(crate) struct Team {
    /// What nobody has taken yet of each thread's run: [`Left`].
    left: Vec<AtomicU64>,
    /// The body of the loop, as long as not all of its indices are finished.
    body: UnsafeCell<Option<Body>>,
    finished: AtomicUsize,
    panicked: Mutex<Option<Box<dyn Any + Send>>>,
    over: AtomicBool,
}

type Body = *const (dyn Fn(usize) + Sync);

// SAFETY: `body` is written by the leader while no index can be taken, and read by who has taken one; see `Team::run_some`.
unsafe impl Sync for Team {}

/// The indices `first..end` of loop number `number`.
#[derive(Clone, Copy)]
struct Left {
    number: u64,
    first: u64,
    end: u64,
}

/// Bits of an index, and the longest loop.
const BITS: u32 = 22;
const MOST: usize = (1 << BITS) - 1;

impl Left {
    fn unpacked(bits: u64) -> Self {
        let part = |shift: u32| bits >> shift & MOST as u64;
        Self { number: bits >> (2 * BITS), first: part(BITS), end: part(0) }
    }

    fn packed(self) -> u64 {
        self.number << (2 * BITS) | self.first << BITS | self.end
    }
}

impl Team {
    fn new(threads: usize) -> Self {
        Self {
            left: (0..threads).map(|_| AtomicU64::new(0)).collect(),
            body: UnsafeCell::new(None),
            finished: AtomicUsize::new(0),
            panicked: Mutex::new(None),
            over: AtomicBool::new(false),
        }
    }

    /// Calls `f` for 0..n on all threads of the team; only the leader may.
    pub(crate) fn run(&self, n: usize, f: &(dyn Fn(usize) + Sync)) {
        for first in (0..n).step_by(MOST) {
            self.run_some(MOST.min(n - first), &|i| f(first + i));
        }
    }

    fn run_some(&self, n: usize, f: &(dyn Fn(usize) + Sync)) {
        // SAFETY: only the lifetime changes. `f` is called by who has taken an index, and this function does not return before all
        // indices are finished.
        let body = unsafe {
            std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), Body>(std::ptr::from_ref(f))
        };
        // SAFETY: nobody reads it: all indices of the last loop are finished, and none can be taken before `left` has changed.
        unsafe { *self.body.get() = Some(body) };
        self.finished.store(0, Ordering::Relaxed);
        let threads = self.left.len();
        for (i, left) in self.left.iter().enumerate() {
            let number = Left::unpacked(left.load(Ordering::Relaxed)).number + 1;
            let [first, end] = [i, i + 1].map(|i| (i * n / threads) as u64);
            left.store(Left { number, first, end }.packed(), Ordering::Release);
        }
        while self.take_part(0) {}
        let mut looks = 0;
        while self.finished.load(Ordering::Acquire) < n {
            pause(&mut looks);
        }
        let panicked = self.panicked.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(payload) = panicked {
            resume_unwind(payload);
        }
    }

    /// Takes an index, of thread number `me` if it has some left, and calls the body; false if there is none.
    fn take_part(&self, me: usize) -> bool {
        let Some(index) = self.take(me) else { return false };
        // SAFETY: the leader waits for this index, so the body is there and stays; it was written before `left`.
        let body = unsafe { (*self.body.get()).map(|body| &*body) };
        let _follows = Placed::new(Place::Follows);
        if let Some(body) = body
            && let Err(payload) = catch_unwind(AssertUnwindSafe(|| body(index)))
        {
            *self.panicked.lock().unwrap_or_else(PoisonError::into_inner) = Some(payload);
        }
        self.finished.fetch_add(1, Ordering::Release);
        true
    }

    fn take(&self, me: usize) -> Option<usize> {
        let (before, from_me) = self.left.split_at(me);
        for (i, left) in from_me.iter().chain(before).enumerate() {
            let mut bits = left.load(Ordering::Acquire);
            loop {
                let mut now = Left::unpacked(bits);
                if now.first >= now.end {
                    break;
                }
                let taken = if i == 0 {
                    now.first += 1;
                    now.first - 1
                } else {
                    now.end -= 1;
                    now.end
                };
                let (done, seen) = (Ordering::AcqRel, Ordering::Acquire);
                match left.compare_exchange_weak(bits, now.packed(), done, seen) {
                    Ok(_) => return Some(taken as usize),
                    Err(other) => bits = other,
                }
            }
        }
        None
    }

    /// Shares the leader's loops until it ends.
    fn follow(&self, me: usize) {
        let mut looks = 0;
        while !self.over.load(Ordering::Acquire) {
            if self.take_part(me) {
                looks = 0;
            } else {
                pause(&mut looks);
            }
        }
    }
}

/// Waits a moment, after many looks in vain so that others can have the processor.
fn pause(looks: &mut usize) {
    *looks += 1;
    if *looks < SPINS {
        std::hint::spin_loop();
    } else {
        std::thread::yield_now();
    }
}

#[cfg(test)]
mod tests {
    use super::together;
    use crate::parallel::{for_each, map};
    use std::sync::atomic::{AtomicUsize, Ordering};

    fn pool(threads: usize) -> rayon::ThreadPool {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
    }

    #[test]
    fn each_index_comes_once_in_loop_after_loop() {
        for threads in [1, 2, 5] {
            pool(threads).install(|| {
                together(|| {
                    for n in (0..3000).map(|i| i % 40) {
                        let seen: Vec<AtomicUsize> = (0..n).map(|_| AtomicUsize::new(0)).collect();
                        for_each(true, n, |i| {
                            seen[i].fetch_add(1, Ordering::Relaxed);
                        });
                        assert!(seen.iter().all(|s| s.load(Ordering::Relaxed) == 1));
                    }
                });
            });
        }
    }

    #[test]
    fn results_come_in_order_from_loops_in_loops() {
        pool(3).install(|| {
            let found = together(|| {
                map(true, (0..50).collect(), |i: usize| {
                    together(|| map(true, (0..i).collect(), |k: usize| k + i).iter().sum::<usize>())
                })
            });
            let wanted: Vec<usize> = (0..50).map(|i| (0..i).map(|k| k + i).sum()).collect();
            assert_eq!(found, wanted);
        });
    }

    #[test]
    fn teams_of_several_threads_do_not_meet() {
        let pool = pool(3);
        std::thread::scope(|scope| {
            for start in 0..6usize {
                let pool = &pool;
                scope.spawn(move || {
                    for _ in 0..200 {
                        let work =
                            || together(|| map(true, (0..20).collect(), |i: usize| i * start));
                        // From outside of the pool, and from inside.
                        let found = if start % 2 == 0 { pool.install(work) } else { work() };
                        assert_eq!(found, (0..20).map(|i| i * start).collect::<Vec<_>>());
                    }
                });
            }
        });
    }

    #[test]
    fn a_panic_reaches_who_called_and_the_pool_goes_on() {
        pool(2).install(|| {
            for bad in 0..30 {
                let caught = std::panic::catch_unwind(|| {
                    together(|| for_each(true, 30, |i| assert_ne!(i, bad, "as wanted")));
                });
                assert!(caught.is_err());
                assert_eq!(together(|| map(true, vec![1, 2, 3], |i| i + 1)), [2, 3, 4]);
            }
        });
    }
}
