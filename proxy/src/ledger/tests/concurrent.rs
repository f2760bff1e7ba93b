//! Many threads at one ledger.

use std::{
    sync::atomic::{AtomicU64, AtomicUsize},
    thread,
};

use tempfile::TempDir;

use super::*;

const THREADS: u64 = 4;

#[test]
fn threads_together_admit_exactly_the_limit_and_all_or_nothing() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path()).ledger;
    let of_account = Limits { per_day: Some(2_000), ..Limits::UNLIMITED };
    let of_key = Limits { per_month: Some(600), ..Limits::UNLIMITED };
    let admitted: [AtomicU64; 4] = Default::default();
    thread::scope(|scope| {
        for first in 0..THREADS {
            let (ledger, admitted) = (&ledger, &admitted);
            scope.spawn(move || {
                for n in 0..3_000 {
                    let k = ((first + n) % 4) as usize;
                    if admit_within(ledger, &noon(), (1, &of_account), (k as u128, &of_key)).is_ok() {
                        admitted[k].fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let admitted = admitted.map(AtomicU64::into_inner);
    assert_eq!(admitted.iter().sum::<u64>(), 2_000);
    assert_eq!(day_count(&ledger, &account(1)), 2_000);
    for (k, &admitted) in admitted.iter().enumerate() {
        assert!(admitted <= 600);
        assert_eq!(day_count(&ledger, &key(k as u128)), admitted, "a refused request costs nothing on either subject");
    }
    assert_eq!((windows(&ledger, &account(1)).concurrent, ledger.in_flight()), (0, 0));
}

#[test]
fn no_more_are_served_at_the_same_time_than_the_limit() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path()).ledger;
    let limits = Limits { concurrent: Some(2), ..Limits::UNLIMITED };
    let (serving, most) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for k in 0..u128::from(THREADS) {
            let (ledger, serving, most) = (&ledger, &serving, &most);
            scope.spawn(move || {
                for _ in 0..3_000 {
                    if let Ok(admission) = admit_within(ledger, &noon(), (1, &limits), (k, &Limits::UNLIMITED)) {
                        most.fetch_max(serving.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        thread::yield_now();
                        serving.fetch_sub(1, Ordering::SeqCst);
                        drop(admission.finish(200, 0));
                    }
                }
            });
        }
    });
    assert!((1..=2).contains(&most.into_inner()));
    assert_eq!(windows(&ledger, &account(1)).concurrent, 0);
}

#[test]
fn totals_that_are_taken_while_threads_count_end_at_the_truth() {
    let dir = TempDir::new().unwrap();
    let ledger = open(dir.path()).ledger;
    let running = AtomicUsize::new(2);
    let mut latest = std::collections::HashMap::new();
    thread::scope(|scope| {
        for a in 0..2 {
            let (ledger, running) = (&ledger, &running);
            scope.spawn(move || {
                (0..4_000).for_each(|n| drop(admit(ledger, &noon(), a, n % 5).unwrap()));
                running.fetch_sub(1, Ordering::Release);
            });
        }
        loop {
            let last = running.load(Ordering::Acquire) == 0;
            for total in ledger.totals(3) {
                let before = latest.insert(total.subject, total.admitted).unwrap_or(0);
                assert!(before <= total.admitted, "totals of one ledger only grow");
            }
            if last && ledger.totals(0).is_empty() && latest.values().sum::<u64>() == 16_000 {
                break;
            }
        }
    });
    assert_eq!((latest[&account(0)], latest[&account(1)]), (4_000, 4_000));
}
