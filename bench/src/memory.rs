//! How much memory streams of files take: each measured in a process of its own, which is this program again.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use statehouse_core::{Namespace, ServiceUrl};
use statehouse_filestore::{Body, Files};

use crate::harness::Harness;

type Failed = Box<dyn std::error::Error>;

/// The argument before what a process is to measure.
pub(crate) const MEASURE: &str = "--measure";

const GIB: usize = 1 << 30;
const MIB: usize = 1 << 20;

/// What the contract allows, in MiB.
const MOST: f64 = 32.0;

/// What a store is told to have for all its uploads together, in MiB.
const ROOM: usize = 64;

/// How much each of the uploads has sent that then send nothing more.
const STALLED: usize = 33 << 20;

pub(crate) fn run(harness: &mut Harness, s3: &str) -> Result<(), Failed> {
    let folder = tempfile::tempdir()?;
    let local = format!("file://{}?durability=relaxed", folder.path().display());
    for (name, url, len, piece) in [
        ("local put of 1 GiB in 64 KiB pieces", &local, GIB, 64 << 10),
        ("local put of 1 GiB in 4 MiB pieces", &local, GIB, 4 * MIB),
        ("local put of 64 MiB in 1 B pieces", &local, 64 * MIB, 1),
        ("s3 put of 1 GiB in 64 KiB pieces", &s3.to_owned(), GIB, 64 << 10),
        ("s3 put of 1 GiB in 4 MiB pieces", &s3.to_owned(), GIB, 4 * MIB),
        ("s3 put of 64 MiB in 1 B pieces", &s3.to_owned(), 64 * MIB, 1),
    ] {
        let mib = measured(&["put", url, &len.to_string(), &piece.to_string()])?;
        harness.limited("filestore", name, "MiB", mib, MOST);
    }
    for (name, url) in [("local get of 1 GiB", &local), ("s3 get of 1 GiB", &s3.to_owned())] {
        let mib = measured(&["get", url])?;
        harness.limited("filestore", name, "MiB", mib, MOST);
    }
    let mib = measured(&["stall", &format!("{s3}&upload_memory={ROOM}MiB")])?;
    harness.limited("filestore", "ten stalled s3 uploads", "MiB", mib, ROOM as f64);
    Ok(())
}

/// What another process of this program prints.
pub(crate) fn measured(arguments: &[&str]) -> Result<f64, Failed> {
    let output = Command::new(std::env::current_exe()?).arg(MEASURE).args(arguments).output()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    text.parse().map_err(|_| format!("{arguments:?}: {text} {}", String::from_utf8_lossy(&output.stderr)).into())
}

/// What the other process does. It prints by how many MiB it grew.
pub(crate) async fn child(arguments: &[String]) -> Result<(), Failed> {
    let arguments: Vec<_> = arguments.iter().map(String::as_str).collect();
    let url = *arguments.get(1).ok_or("which store?")?;
    let files = statehouse_filestore::open(ServiceUrl::parse("bench", url)?, &Namespace::new("memory")?).await?;
    files.put("warm", "x").await?;
    files.get("warm").bytes().await?;
    let block = Bytes::from(vec![7_u8; 16 * MIB]);
    let before = settled()?;
    match arguments.as_slice() {
        ["put", _, len, piece] => drop(files.put("large", body(block, len.parse()?, piece.parse()?)).await?),
        ["get", _] => {
            let mut stream = files.get("large").stream().await?;
            while let Some(piece) = stream.next().await {
                piece?;
            }
        }
        ["stall", _] => {
            stall(&files, &block).await?;
            println!("{:.1}", (status("VmRSS:")? - before) / 1024.0);
            return Ok(());
        }
        other => return Err(format!("unexpected arguments {other:?}").into()),
    }
    println!("{:.1}", (status("VmHWM:")? - before) / 1024.0);
    Ok(())
}

/// Pieces with memory of their own, as what comes from a network has, save for the smallest, which would take it all.
fn body(block: Bytes, len: usize, piece: usize) -> Body {
    let pieces = (0..len.div_ceil(piece)).map(move |number| {
        let at = number * piece % block.len();
        let piece = block.slice(at..at + piece);
        Ok::<_, std::io::Error>(if piece.len() > 1 { Bytes::copy_from_slice(&piece) } else { piece })
    });
    Body::from_stream(futures_util::stream::iter(pieces))
}

async fn stall(files: &Files, block: &Bytes) -> Result<(), Failed> {
    let gone = Arc::new(tokio::sync::Semaphore::new(0));
    for number in 0..10 {
        let (files, block, gone) = (files.clone(), block.clone(), Arc::clone(&gone));
        tokio::spawn(async move { drop(files.put(format!("stalled-{number}"), stalled(block, gone)).await) });
    }
    tokio::time::timeout(Duration::from_secs(60), gone.acquire_many(10)).await??.forget();
    // What is complete is sent by then.
    tokio::time::sleep(Duration::from_secs(3)).await;
    Ok(())
}

/// So much, and then nothing any more, which `gone` is told.
fn stalled(block: Bytes, gone: Arc<tokio::sync::Semaphore>) -> Body {
    let pieces = (0..STALLED / MIB).map(move |_| Ok::<_, std::io::Error>(Bytes::copy_from_slice(&block[..MIB])));
    let silent = futures_util::stream::once(async move {
        gone.add_permits(1);
        std::future::pending().await
    });
    Body::from_stream(futures_util::stream::iter(pieces).chain(silent))
}

/// Forgets the highest use of memory so far, and gives the present one in KiB.
fn settled() -> Result<f64, Failed> {
    std::fs::write("/proc/self/clear_refs", "5")?;
    status("VmRSS:")
}

/// A figure of this process in KiB.
pub(crate) fn status(name: &str) -> Result<f64, Failed> {
    let text = std::fs::read_to_string("/proc/self/status")?;
    let line = text.lines().find_map(|line| line.strip_prefix(name)).ok_or("no such line")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
