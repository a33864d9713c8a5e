//! What a table is made of.

/// What a verb does, which says what may become of it while the network is broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Effect {
    /// It reads. An outage is said to be one, and is never an answer.
    Reads,
    /// It writes. Besides, nobody may know whether it did.
    Writes,
    /// It succeeds whatever the network does, such as a wait that is over at its limit.
    Endures,
    /// It waits for news that come without being asked for, on a connection that was made before.
    Hears,
}

/// How a client finds the server that a fault is before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedisTopology {
    /// It is told where the server is.
    Single,
    /// A sentinel tells it, which the fault is not before.
    Sentinel,
    /// It is the only node of a cluster, and the fault is before all that is asked of it. A patient client that looks what
    /// became of a verb has the same way.
    Cluster,
}

/// A service on Redis, as one client has it.
pub trait NetworkSubject: Sized + Send + Sync + 'static {
    /// One method of the service, in one of its forms.
    type Verb: Copy + std::fmt::Debug + Send + Sync + 'static;
    /// What a verb is called on once, and nobody else knows.
    type Scene: Send + Sync;

    /// All of them.
    const VERBS: &'static [Self::Verb];

    /// Whether the service has the verb where Redis is of that topology.
    fn has(verb: Self::Verb, topology: RedisTopology) -> bool {
        let _ = (verb, topology);
        true
    }

    /// What a verb does.
    fn effect(verb: Self::Verb) -> Effect;

    /// After how many seconds at the most it is over, as documented, where the URL sets nothing.
    fn deadline(verb: Self::Verb) -> u64;

    /// Whether it sends or is answered 64 KiB.
    fn is_large(verb: Self::Verb) -> bool {
        let _ = verb;
        false
    }

    /// A client of the server at `url`, which the fault is before, and a patient one `around` the fault, of a namespace of
    /// their own. Why not, if there is no time for that on a busy machine.
    fn open(url: &str, around: &str) -> impl Future<Output = Result<Self, String>> + Send;

    /// Prepares what a verb is called on, around the fault.
    fn scene(&self, verb: Self::Verb) -> impl Future<Output = Self::Scene> + Send;

    /// Calls the verb. The kind of its error, if it fails; a wrong answer panics.
    fn run(&self, verb: Self::Verb, scene: &Self::Scene) -> impl Future<Output = Result<(), &'static str>> + Send;

    /// Whether the verb has done its work, looked at around the fault, if that shows. What is worse than not done panics.
    /// Asked once of each scene.
    fn is_done(&self, verb: Self::Verb, scene: &Self::Scene) -> impl Future<Output = Option<bool>> + Send;

    /// Asks the client for the health of the service: whether it is up.
    fn is_up(&self) -> impl Future<Output = bool> + Send;
}
