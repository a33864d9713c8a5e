//! What uploads hold in memory.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use bytes::Bytes;
use tokio::sync::Barrier;

use super::*;
use crate::local::stream::BATCH;

const UPLOADS: usize = 24;
const PIECE: &[u8] = &[7; 32 << 10];
const PIECES: usize = 4 * BATCH / PIECE.len();

/// Each takes from its source what two writes have, and no more, however long the disk takes and however many they are.
#[test]
fn while_a_disk_is_busy_each_upload_holds_two_writes() {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = runtime.enable_all().max_blocking_threads(1).build().unwrap();
    let test = async {
        let (dir, taken) = (Dir::new(), Arc::new(AtomicUsize::new(0)));
        let [begun, busy] = [(); 2].map(|()| Arc::new(Barrier::new(UPLOADS + 1)));
        let files = dir.files().await;
        let upload = |number: usize| {
            let shared = (Arc::clone(&taken), Arc::clone(&begun), Arc::clone(&busy));
            let files = files.clone();
            let source = futures_util::stream::unfold(0, move |sent| {
                let (taken, begun, busy) = shared.clone();
                async move {
                    if sent == 0 {
                        begun.wait().await;
                        busy.wait().await;
                    }
                    taken.fetch_add(if sent < PIECES { PIECE.len() } else { 0 }, Ordering::Relaxed);
                    (sent < PIECES).then(|| (Ok::<_, statehouse_core::Error>(Bytes::from_static(PIECE)), sent + 1))
                }
            });
            tokio::spawn(async move {
                match number % 2 {
                    0 => files.put(number.to_string(), Body::from_stream(source)).await,
                    // As what a web framework hands out: it is handed over piece by piece.
                    _ => files.put_stream(number.to_string(), source).await,
                }
            })
        };
        let uploads: Vec<_> = (0..UPLOADS).map(upload).collect();
        begun.wait().await;
        let (release, released) = mpsc::channel::<()>();
        let disk = tokio::task::spawn_blocking(move || released.recv());
        busy.wait().await;
        while taken.load(Ordering::Relaxed) < 2 * UPLOADS * BATCH {
            tokio::task::yield_now().await;
        }
        for _ in 0..100 * UPLOADS {
            tokio::task::yield_now().await;
        }
        let held = taken.load(Ordering::Relaxed);
        // Two pieces may be under way from who hands them over.
        assert!(held <= 2 * UPLOADS * (BATCH + 2 * PIECE.len()), "{held} bytes of {UPLOADS} uploads");
        release.send(()).unwrap();
        disk.await.unwrap().unwrap();
        for upload in uploads {
            assert_eq!(upload.await.unwrap().unwrap().len, 4 * BATCH as u64);
        }
    };
    runtime.block_on(async { tokio::time::timeout(Duration::from_secs(120), test).await.expect("it ends") });
}
