//! Many threads publish, subscribe and unsubscribe at once; the outcome equals the model.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use planwire_bus::Handler;
use planwire_event::Filter;

use crate::kit::{Kit, id};
use crate::seeds::count;

const THREADS: usize = 16;

#[test]
fn soak_sixteen_threads_publish_subscribe_and_unsubscribe_as_the_model_says() {
    let each = count(100_000, 400_000) / THREADS;
    let kit = Arc::new(Kit::new());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap();
    runtime.block_on(async {
        for thread in 0..THREADS {
            kit.publish(vec![kit.started(&format!("p{thread}"))]).await;
        }
    });
    let calls = Arc::new(AtomicUsize::new(0));
    let threads: Vec<_> = (0..THREADS)
        .map(|thread| {
            let (kit, calls, handle) = (Arc::clone(&kit), Arc::clone(&calls), runtime.handle().clone());
            std::thread::spawn(move || handle.block_on(work(&kit, thread, each, &calls)))
        })
        .collect();
    let expected: usize = threads.into_iter().map(|thread| thread.join().unwrap()).sum();
    runtime.block_on(kit.bus.shutdown());
    println!(
        "{THREADS} threads, {each} turns each: {expected} calls expected, {} made",
        calls.load(Ordering::SeqCst)
    );
    assert_eq!(calls.load(Ordering::SeqCst), expected);
    assert_eq!(kit.bus.counters().subscriptions_open, 0);
    assert_eq!(kit.bus.counters().handler_panics, 0);
}

/// A subscription, how often its handler saw each position, and how many events it is due.
type Open = (planwire_bus::SubscriptionId, Arc<Mutex<BTreeMap<u64, usize>>>, usize);

/// Turns of publish, subscribe and unsubscribe in one plan of its own; gives the calls that handlers must see.
async fn work(kit: &Kit, thread: usize, each: usize, calls: &Arc<AtomicUsize>) -> usize {
    let plan = format!("p{thread}");
    let mut expected = 0;
    let mut open: Vec<Open> = Vec::new();
    for turn in 0..each {
        match (turn * 7 + thread) % 5 {
            0 if open.len() < 4 => {
                let seen: Arc<Mutex<BTreeMap<u64, usize>>> = Arc::default();
                let (seen_by, calls) = (Arc::clone(&seen), Arc::clone(calls));
                let handler = Handler::future(move |event| {
                    *seen_by.lock().unwrap().entry(event.position.get()).or_default() += 1;
                    calls.fetch_add(1, Ordering::SeqCst);
                    std::future::ready(Ok(()))
                });
                let subscription = kit.bus.subscribe(handler, Filter::plan(id(&plan))).unwrap();
                open.push((subscription, seen, 0));
            }
            1 if !open.is_empty() => {
                // A subscription that has seen all that was published since is ended; it sees nothing more.
                let (subscription, seen, published) = open.swap_remove(turn % open.len());
                while seen.lock().unwrap().len() < published {
                    tokio::task::yield_now().await;
                }
                kit.bus.unsubscribe_and_wait(subscription).await.unwrap();
                let seen = seen.lock().unwrap();
                assert!(seen.len() == published && seen.values().all(|calls| *calls == 1), "each event once");
                expected += published;
            }
            _ => {
                kit.bus.publish(kit.custom(&plan, turn)).await.unwrap();
                for (_, _, published) in &mut open {
                    *published += 1;
                }
            }
        }
    }
    expected + open.iter().map(|(_, _, published)| published).sum::<usize>()
}
