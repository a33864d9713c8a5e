use std::fmt;
use std::sync::{Mutex, PoisonError};

use statehouse_core::Result;
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;

use super::beat::{Beat, Standing};
use super::epochs::Behind;
use super::format::Kept;
use super::info::MemberInfo;
use super::member::MemberId;
use super::pace::Pace;
use super::watch::MemberWatch;

/// Being a member: made by [`Membership::join`](crate::Membership::join). Dropping it leaves, without waiting for that.
#[must_use = "the member leaves when this is dropped"]
pub struct Joined {
    id: MemberId,
    label: String,
    pace: Pace,
    info: watch::Sender<MemberInfo>,
    /// Held by whoever changes that, so that no change is made to what is not there any more.
    changing: Mutex<()>,
    standing: watch::Receiver<Standing>,
    watch: MemberWatch,
    stop: Option<oneshot::Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl Joined {
    /// Says for the first time that it is there, and goes on to in a task of its own.
    pub(super) async fn begin(mut beat: Beat, info: watch::Sender<MemberInfo>, watch: MemberWatch) -> Result<Self> {
        let (id, label, pace) = (beat.id, beat.label.to_string(), beat.pace);
        let (stop, stopped) = oneshot::channel();
        // A task, so that whoever stops waiting leaves no member behind.
        let (told, first) = oneshot::channel();
        let keeper = tokio::spawn(async move {
            let first = async {
                let mut standing = beat.beat().await?;
                beat.check(&mut standing).await?;
                Ok(standing)
            };
            let refused = match first.await {
                Ok(Standing { behind: Some(behind), .. }) => behind.into(),
                Ok(standing) => {
                    let (sender, receiver) = watch::channel(standing);
                    match told.send(Ok(receiver)) {
                        Ok(()) => return beat.keep(sender, stopped).await,
                        Err(_) => return beat.leave().await,
                    }
                }
                Err(error) => error,
            };
            beat.leave().await;
            let _nobody = told.send(Err(refused));
        });
        let standing = first.await.unwrap_or_else(|_| Err(crate::leases::ended("a member had joined")))?;
        let (changing, stop, keeper) = (Mutex::default(), Some(stop), Some(keeper));
        Ok(Self { id, label, pace, info, changing, standing, watch, stop, keeper })
    }

    /// Which member it is.
    #[must_use]
    pub const fn id(&self) -> MemberId {
        self.id
    }

    /// Whether the others still count on it, as far as it knows: a word of it was stored within the time to live.
    #[must_use]
    pub fn is_listed(&self) -> bool {
        !self.standing.borrow().listed.is_over()
    }

    /// What it is behind of, if it was forgotten and others went on meanwhile: see [`Epoch`](crate::Epoch).
    #[must_use]
    pub fn behind(&self) -> Option<Behind> {
        self.standing.borrow().behind.clone()
    }

    /// Changes what it says of itself, which is told at once if it differs. Changes of several threads are made one after the
    /// other, so one must not be made within another.
    ///
    /// # Errors
    /// [`TooLarge`](statehouse_core::ErrorKind::TooLarge) if that is too much: then it is as it was.
    pub fn update(&self, change: impl FnOnce(&mut MemberInfo)) -> Result<()> {
        let _alone = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.info.borrow().clone();
        let mut info = before.clone();
        change(&mut info);
        if info == before {
            return Ok(());
        }
        Kept::new(self.id, &self.label, self.pace, &info).encode()?;
        self.info.send_replace(info);
        Ok(())
    }

    /// Whether the store has what it says of itself as it is now, so that others can know of it.
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.standing.borrow().info == *self.info.borrow()
    }

    /// What it says of itself.
    #[must_use]
    pub fn info(&self) -> MemberInfo {
        self.info.borrow().clone()
    }

    /// Looks at all members, this one among them.
    pub fn watch(&self) -> MemberWatch {
        self.watch.clone()
    }

    /// Leaves, and waits until that is done: then nobody counts on it any more. What cannot be told within a second is found
    /// out by the others after the time to live.
    pub async fn leave(mut self) {
        self.stop = None;
        if let Some(keeper) = self.keeper.take() {
            // The runtime ends.
            let _ended = keeper.await;
        }
    }
}

impl fmt::Debug for Joined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Joined").field("id", &self.id).field("is_listed", &self.is_listed()).finish_non_exhaustive()
    }
}
