//! Threads that stay awake between loops.
//!
//! A network of a hundred short operators has a hundred short loops, and so has a step of training. A thread that goes to sleep behind
//! each of them must be woken for the next, which takes longer than the loop. Inside [`together`] the threads of the pool look out for the
//! next loop instead.

use crate::parallel::TASKS;
use std::any::Any;
use std::cell::{Cell, UnsafeCell};
use std::marker::PhantomData;
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
///
/// A thread from outside of the pool leaves the lead to one of the pool: a leader beside the pool would be one thread more than
/// processors, and a follower that the system queues behind it waits for milliseconds.
pub(crate) fn together<R: Send>(f: impl FnOnce() -> R + Send) -> R {
    let others = rayon::current_num_threads().min(TASKS) - 1;
    if others == 0 || !matches!(PLACE.get(), Place::Outside) {
        return f();
    }
    let team = Team::new(others + 1);
    let team = &team;
    rayon::scope(|scope| {
        for follower in 1..=others {
            scope.spawn(move |_| team.follow(follower));
        }
        let _over = Over(team);
        let _leads = Placed::new(Place::Leads(team));
        f()
    })
}

/// Whether this thread leads a team and is in none of its loops.
pub(crate) fn leads() -> bool {
    matches!(PLACE.try_with(Cell::get), Ok(Place::Leads(_)))
}

/// How a loop of this thread is run.
pub(crate) enum Loop<'a> {
    /// By the pool.
    Pool,
    /// By this thread alone.
    Alone,
    Team(Leader<'a>),
}

/// A team in its leader's hands: no other thread may have it.
pub(crate) struct Leader<'a> {
    team: &'a Team,
    /// Neither `Send` nor `Sync`.
    own: PhantomData<*const Team>,
}

/// How a loop is run that this thread comes to now.
pub(crate) fn with_loop<R>(f: impl FnOnce(Loop<'_>) -> R) -> R {
    match PLACE.get() {
        Place::Outside => f(Loop::Pool),
        Place::Follows => f(Loop::Alone),
        // SAFETY: `together` holds the team until the thread's place has changed back.
        Place::Leads(team) => f(Loop::Team(Leader { team: unsafe { &*team }, own: PhantomData })),
    }
}

/// Ends the others' watch, even when the leader panics.
struct Over<'a>(&'a Team);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.over.store(true, Ordering::SeqCst);
        // A leader that waited in the pool could begin with another caller's work there.
        let mut looks = 0;
        while self.0.following.load(Ordering::SeqCst) > 0 {
            pause(&mut looks);
        }
    }
}

/// One loop at a time, and the threads that share it: the leader, number 0, and its followers.
///
/// Each has a run of indices of its own, the same in every loop of that length: what it has written in one loop lies in its cache in the
/// next. Who is done takes from the ends of the others' runs.
pub(crate) struct Team {
    /// What nobody has taken yet of each thread's run: [`Left`].
    left: Vec<Apart<AtomicU64>>,
    /// The body of the loop, as long as not all of its indices are finished.
    body: UnsafeCell<Option<Body>>,
    finished: Apart<AtomicUsize>,
    panicked: Mutex<Option<Box<dyn Any + Send>>>,
    /// Followers on the watch.
    following: AtomicUsize,
    over: AtomicBool,
}

type Body = *const (dyn Fn(usize) + Sync);

// SAFETY: `body` is written by the leader while no index can be taken, and read by who has taken one; see `Leader::run`.
unsafe impl Sync for Team {}

/// In lines of the cache of its own: threads that write neighbours would take the line from each other with every write.
#[repr(align(128))]
struct Apart<T>(T);

/// The indices `first..end`. A word with some left is of the loop that runs now: the leader writes the next loop's only when none are left.
#[derive(Clone, Copy)]
struct Left {
    first: u32,
    end: u32,
}

impl Left {
    fn unpacked(bits: u64) -> Self {
        Self { first: (bits >> 32) as u32, end: bits as u32 }
    }

    fn packed(self) -> u64 {
        u64::from(self.first) << 32 | u64::from(self.end)
    }
}

impl Leader<'_> {
    /// Calls `f` for 0..n on all threads of the team.
    ///
    /// # Panics
    /// When a call of `f` does, or `n` is 2³² or more.
    pub(crate) fn run(&self, n: usize, f: &(dyn Fn(usize) + Sync)) {
        let team = self.team;
        assert!(u32::try_from(n).is_ok(), "a loop of {n}");
        // SAFETY: only the lifetime changes. `f` is called by who has taken an index, and this function does not return before all
        // indices are finished.
        let body = unsafe {
            std::mem::transmute::<*const (dyn Fn(usize) + Sync + '_), Body>(std::ptr::from_ref(f))
        };
        // SAFETY: nobody reads it: all indices of the last loop are finished, and none can be taken before `left` has changed.
        unsafe { *team.body.get() = Some(body) };
        team.finished.0.store(0, Ordering::Relaxed);
        let threads = team.left.len();
        for (i, left) in team.left.iter().enumerate() {
            // The leader has the first indices, even if they are fewer than threads.
            let [first, end] = [i, i + 1].map(|i| (i * n).div_ceil(threads) as u32);
            left.0.store(Left { first, end }.packed(), Ordering::Release);
        }
        team.take_part(0);
        let mut looks = 0;
        while team.finished.0.load(Ordering::Acquire) < n {
            pause(&mut looks);
        }
        let panicked = team.panicked.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(payload) = panicked {
            resume_unwind(payload);
        }
    }
}

impl Team {
    fn new(threads: usize) -> Self {
        Self {
            left: (0..threads).map(|_| Apart(AtomicU64::new(0))).collect(),
            body: UnsafeCell::new(None),
            finished: Apart(AtomicUsize::new(0)),
            panicked: Mutex::new(None),
            following: AtomicUsize::new(0),
            over: AtomicBool::new(false),
        }
    }

    /// Calls the body for indices, those of thread number `me` first, until none are left; false if there were none.
    fn take_part(&self, me: usize) -> bool {
        let Some(first) = self.take(me) else { return false };
        let _follows = Placed::new(Place::Follows);
        // SAFETY: the leader waits for the index, so the body is there and stays until it is counted; it was written before `left`.
        let body = unsafe { (*self.body.get()).map(|body| &*body) };
        let (mut next, mut done) = (Some(first), 0);
        while let Some(index) = next {
            if let Some(body) = body
                && let Err(payload) = catch_unwind(AssertUnwindSafe(|| body(index)))
            {
                *self.panicked.lock().unwrap_or_else(PoisonError::into_inner) = Some(payload);
            }
            done += 1;
            next = self.take(me);
        }
        self.finished.0.fetch_add(done, Ordering::Release);
        true
    }

    fn take(&self, me: usize) -> Option<usize> {
        let (before, from_me) = self.left.split_at(me);
        for (i, left) in from_me.iter().chain(before).enumerate() {
            let mut bits = left.0.load(Ordering::Acquire);
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
                match left.0.compare_exchange_weak(bits, now.packed(), done, seen) {
                    Ok(_) => return Some(taken as usize),
                    Err(other) => bits = other,
                }
            }
        }
        None
    }

    /// Shares the leader's loops until it ends.
    fn follow(&self, me: usize) {
        self.following.fetch_add(1, Ordering::SeqCst);
        let mut looks = 0;
        while !self.over.load(Ordering::SeqCst) {
            if self.take_part(me) {
                looks = 0;
            } else {
                pause(&mut looks);
            }
        }
        self.following.fetch_sub(1, Ordering::SeqCst);
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

    /// Leaders among the workers of a plain loop: a follower's job may be picked up wherever a worker waits.
    #[test]
    fn teams_begin_in_loops_of_the_pool() {
        pool(4).install(|| {
            for _ in 0..100 {
                let found = map(true, (0..30).collect(), |start: usize| {
                    together(|| map(true, (0..20).collect(), |i: usize| i * start))
                        .iter()
                        .sum::<usize>()
                });
                assert_eq!(found, (0..30).map(|start| 190 * start).collect::<Vec<_>>());
            }
        });
    }

    #[test]
    fn a_leader_that_panics_lets_its_followers_go() {
        pool(3).install(|| {
            for _ in 0..30 {
                let caught = std::panic::catch_unwind(|| {
                    together(|| {
                        for_each(true, 9, |_| {});
                        panic!("as wanted");
                    })
                });
                assert!(caught.is_err());
            }
            assert_eq!(together(|| map(true, vec![1, 2, 3], |i| i + 1)), [2, 3, 4]);
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
