//! Every verb of a file store, and what it does to a namespace of its own.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use statehouse_core::{Error, ErrorKind, Fence, Guarded as _, Key, Version};
use statehouse_filestore::{
    Body, CommitOutcome, DiscardOutcome, ETag, FileStore, Files, PresignOptions, ReadOutcome, StageId, StagesOptions,
    SweepOptions, Verb as Signed,
};

const MIB: usize = 1 << 20;

/// What a verb is called with.
#[derive(Clone)]
pub(super) struct Given {
    pub(super) files: Files,
    /// Of the file `small`.
    etag: ETag,
    /// Of the file `staged`.
    stage: Option<StageId>,
    sizes: Sizes,
}

impl Given {
    /// The same files by another way.
    pub(super) fn through(&self, store: &Arc<dyn FileStore>) -> Self {
        let files = Files::new(Arc::clone(store), self.files.namespace().clone());
        Self { files, ..self.clone() }
    }

    fn fence(&self, token: u64) -> Fence {
        Fence::new(Key::new(format!("lock/{}", self.files.namespace())).unwrap(), Version::new(token))
    }

    fn prefix(&self) -> String {
        format!("{}/", self.files.namespace())
    }

    /// A stream of unknown length.
    fn long(&self) -> Body {
        let Sizes { piece, pieces, .. } = self.sizes;
        Body::from_stream(futures_util::stream::iter((0..pieces).map(move |_| Ok::<_, Error>(vec![7_u8; piece]))))
    }

    fn long_len(&self) -> usize {
        self.sizes.piece * self.sizes.pieces
    }
}

/// How long what is long is.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    piece: usize,
    pieces: usize,
    /// How many files a listing has.
    listed: usize,
}

impl Sizes {
    /// More than one part.
    pub(super) const fn usual() -> Self {
        Self { piece: MIB, pieces: 7, listed: 3 }
    }

    /// So many KiB, also of a listing, which has some 300 bytes a file.
    pub(super) const fn slow(kib: usize) -> Self {
        Self { piece: 1 << 10, pieces: kib, listed: kib * 3 }
    }
}

/// What is so once a verb was done, and was not before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing, and nothing is asked of the server.
    Local,
    Reads,
    /// This file is there.
    Makes(&'static str),
    /// This file is gone.
    Removes(&'static str),
    /// The file `small` has another content.
    Replaces,
    /// The mark of the lock has risen.
    Raises,
    /// There is no stage.
    Discards,
    /// Nothing that is seen.
    Unseen,
}

impl Effect {
    pub(super) const fn writes(self) -> bool {
        !matches!(self, Self::Local | Self::Reads)
    }
}

/// What a verb finds, besides the files `small` and `gone`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Needs {
    Nothing,
    /// A file of some length.
    Large,
    /// Some files more.
    Many,
    Stage,
    /// One that may not replace anything.
    NewStage,
    /// A file whose time is over.
    Ended,
}

type Call = fn(Given) -> BoxFuture<'static, Result<(), Error>>;

pub(super) struct Verb {
    pub(super) name: &'static str,
    pub(super) effect: Effect,
    needs: Needs,
    call: Call,
}

impl Verb {
    /// Whether it needs a store that has stages.
    pub(super) fn is_of_stages(&self) -> bool {
        matches!(self.needs, Needs::Stage | Needs::NewStage) || self.name.starts_with("stage")
    }
}

pub(super) fn call(verb: &Verb, given: Given) -> BoxFuture<'static, Result<(), Error>> {
    (verb.call)(given)
}

macro_rules! verb {
    ($name:literal, $effect:expr, $needs:ident, |$given:ident| $body:expr) => {
        Verb { name: $name, effect: $effect, needs: Needs::$needs, call: |$given| Box::pin(async move { $body }) }
    };
}

use Effect::{Discards, Local, Makes, Raises, Reads, Removes, Replaces, Unseen};

pub(super) const VERBS: [Verb; 30] = [
    verb!("put", Makes("new"), Nothing, |given| given.files.put("new", "x").await.map(drop)),
    verb!("put of much", Makes("long"), Nothing, |given| given.files.put("long", given.long()).await.map(drop)),
    verb!("create", Makes("new"), Nothing, |given| given.files.put("new", "x").if_absent().await.map(drop)),
    verb!("create of much", Makes("long"), Nothing, |given| {
        given.files.put("long", given.long()).if_absent().await.map(drop)
    }),
    verb!("replace", Replaces, Nothing, |given| {
        given.files.put("small", "other").if_match(&given.etag).await.map(drop)
    }),
    verb!("put under a lock", Makes("new"), Nothing, |given| {
        given.files.put("new", "x").fenced(&given.fence(2)).await.map(drop)
    }),
    verb!("put for some time", Makes("new"), Nothing, |given| {
        given.files.put("new", "x").time_to_live(Duration::from_secs(3600)).await.map(drop)
    }),
    verb!("get", Reads, Nothing, |given| read(&given.files, "small", 5).await),
    verb!("get of much", Reads, Large, |given| read(&given.files, "large", given.long_len()).await),
    verb!("get of a range", Reads, Nothing, |given| {
        given.files.get("small").range(1..3).bytes().await.map(|read| assert_eq!(read, "ma"))
    }),
    verb!("get if it is this", Reads, Nothing, |given| {
        given.files.get("small").if_match(&given.etag).bytes().await.map(|read| assert_eq!(read, "small"))
    }),
    verb!("get if it is another", Reads, Nothing, |given| {
        let read = given.files.get("small").if_none_match(&given.etag).await;
        read.map(|read| assert!(matches!(read, ReadOutcome::NotModified), "it is the same"))
    }),
    verb!("head", Reads, Nothing, |given| given.files.head("small").await.map(|meta| assert_eq!(meta.len, 5))),
    verb!("list", Reads, Many, |given| {
        let page = given.files.list("").await;
        page.map(|page| assert_eq!(page.entries.len(), given.sizes.listed + 2, "a listing was cut short"))
    }),
    verb!("list of one level", Reads, Nothing, |given| {
        given.files.list("").one_level().await.map(|page| assert_eq!(page.entries.len(), 2))
    }),
    verb!("delete", Removes("gone"), Nothing, |given| given.files.delete("gone").await.map(drop)),
    verb!("delete if it is this", Removes("small"), Nothing, |given| {
        given.files.delete("small").if_match(&given.etag).await.map(drop)
    }),
    verb!("copy", Makes("copied"), Nothing, |given| given.files.copy("small", "copied").await.map(drop)),
    verb!("copy to a new name", Makes("copied"), Nothing, |given| {
        given.files.copy("small", "copied").if_absent().await.map(drop)
    }),
    verb!("copy onto this", Replaces, Nothing, |given| {
        given.files.copy("gone", "small").if_match(&given.etag).await.map(drop)
    }),
    verb!("raise", Raises, Nothing, |given| given.files.raise(&given.fence(2), Duration::from_secs(120)).await),
    verb!("stage", Unseen, Nothing, |given| given.files.put("staged", "x").stage().await.map(drop)),
    verb!("stage of much", Unseen, Nothing, |given| given.files.put("staged", given.long()).stage().await.map(drop)),
    verb!("commit", Makes("staged"), Stage, |given| {
        let done = given.files.commit("staged", given.stage.unwrap()).await;
        done.map(|done| assert!(matches!(done, CommitOutcome::Committed(_)), "{done:?}"))
    }),
    verb!("commit of a new file", Makes("staged"), NewStage, |given| {
        let done = given.files.commit("staged", given.stage.unwrap()).await;
        done.map(|done| assert!(matches!(done, CommitOutcome::Committed(_)), "{done:?}"))
    }),
    verb!("discard", Discards, Stage, |given| {
        let done = given.files.discard("staged", given.stage.unwrap()).await;
        done.map(|done| assert_ne!(done, DiscardOutcome::Committed))
    }),
    verb!("stages", Reads, Stage, |given| {
        let stages = given.files.store().stages_with(StagesOptions::new(given.prefix())).await;
        stages.map(|stages| assert_eq!(stages.len(), 1, "a stage was left out"))
    }),
    verb!("sweep", Unseen, Ended, |given| {
        given.files.store().sweep_with(SweepOptions::new(given.prefix())).await.map(drop)
    }),
    verb!("presign", Local, Nothing, |given| {
        let options = PresignOptions::new(Signed::Get, Duration::from_secs(60));
        given.files.store().presign_with(&given.files.key("small")?, options).await.map(drop)
    }),
    verb!("now", Local, Nothing, |given| given.files.store().now().await.map(drop)),
];

async fn read(files: &Files, name: &str, len: usize) -> Result<(), Error> {
    let read = files.get(name).bytes().await?;
    assert_eq!(read.len(), len, "{name} was cut short");
    Ok(())
}

/// Puts there what a verb is to find.
pub(super) async fn prepare(verb: &Verb, files: Files, sizes: Sizes) -> Given {
    files.put("gone", "x").await.unwrap();
    let etag = files.put("small", "small").await.unwrap().etag;
    let mut given = Given { files, etag, stage: None, sizes };
    let files = given.files.clone();
    match verb.needs {
        Needs::Nothing => {}
        Needs::Large => drop(files.put("large", vec![7; given.long_len()]).await.unwrap()),
        Needs::Many => {
            let puts = (0..sizes.listed).map(|n| files.put(format!("n{n}"), "").into_future());
            assert!(join_all(puts).await.iter().all(Result::is_ok));
        }
        Needs::Stage => given.stage = Some(files.put("staged", "x").stage().await.unwrap().id()),
        Needs::NewStage => given.stage = Some(files.put("staged", "x").if_absent().stage().await.unwrap().id()),
        Needs::Ended => {
            files.put("ended", "x").time_to_live(Duration::from_secs(1)).await.unwrap();
        }
    }
    given
}

/// Whether what a verb does is done, if that can be seen.
pub(super) async fn is_done(verb: &Verb, given: &Given) -> Option<bool> {
    let files = &given.files;
    Some(match verb.effect {
        Local | Reads | Unseen => return None,
        Makes(name) => files.exists(name).await.unwrap(),
        Removes(name) => !files.exists(name).await.unwrap(),
        Replaces => files.get("small").bytes().await.unwrap() != "small",
        Raises => match files.put("by another", "x").fenced(&given.fence(1)).await {
            Ok(_) => false,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Fenced, "{error:?}");
                true
            }
        },
        Discards => files.store().stages_with(StagesOptions::new(given.prefix())).await.unwrap().is_empty(),
    })
}
