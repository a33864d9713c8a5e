//! Corrections of words, on a real terminology.

use statehouse_core::conformance::rounds;
use statehouse_search::{
    BulkOptions, OpenSearchIndex, Operation, Refresh, SearchIndex as _, SearchIndexExt as _, Suggest, SuggestMode,
    TantivyConfig,
};

use super::draw::{Words, misspelt};
use super::{SEED, corpus};
use crate::opensearch::{Scratch, config};
use crate::random::Random;

fn asked(words: &Words, random: &mut Random) -> Suggest {
    let word = |random: &mut Random| {
        let word = words.word(random, 3);
        match random.below(4) {
            0 => word,
            1 => misspelt(&misspelt(&word, random), random),
            _ => misspelt(&word, random),
        }
    };
    let text: Vec<_> = (0..=random.below(4)).map(|_| word(random)).collect();
    let mode = if random.below(3) == 0 { SuggestMode::Popular } else { SuggestMode::Missing };
    let suggest = Suggest::new("title.plain", text.join(" ")).with_mode(mode);
    suggest.with_size(1 + random.below(10)).with_max_edits(1 + u8::from(random.below(3) > 0))
}

/// Also where no shard has all words, and nothing is merged.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn corrections_are_the_same_over_several_segments_and_shards() {
    for shards in ["&shards=1", "&shards=3"] {
        let scratch = Scratch::new().await;
        let diagnoses: Vec<_> = corpus::diagnoses().into_iter().step_by(5).collect();
        let embedded = TantivyConfig::memory().open(corpus::schema()).await.unwrap();
        let sharded = config(scratch.node.address(), shards);
        let distributed = OpenSearchIndex::open(sharded, &scratch.name, corpus::schema()).await.unwrap();
        for part in diagnoses.chunks(3_000) {
            let operations = || part.iter().map(corpus::record).map(Operation::Upsert).collect();
            let now = || BulkOptions::default().with_refresh(Refresh::Now);
            embedded.bulk_with(operations(), now()).await.unwrap().check().unwrap();
            distributed.bulk_with(operations(), now()).await.unwrap().check().unwrap();
        }
        // What was deleted counts nowhere, merged away or not.
        let gone = || {
            let gone = diagnoses
                .iter()
                .step_by(7)
                .map(|one| Operation::Delete { id: corpus::record(one).id().clone(), version: None });
            gone.collect::<Vec<_>>()
        };
        let now = || BulkOptions::default().with_refresh(Refresh::Now);
        embedded.bulk_with(gone(), now()).await.unwrap().check().unwrap();
        distributed.bulk_with(gone(), now()).await.unwrap().check().unwrap();
        let (words, mut random) = (Words::of(&diagnoses), Random::new(SEED));
        let mut corrected = 0;
        for _ in 0..rounds(150, 2_000) {
            let suggest = asked(&words, &mut random);
            let (ours, theirs) =
                (embedded.suggest(&suggest).await.unwrap(), distributed.suggest(&suggest).await.unwrap());
            assert_eq!(ours, theirs, "{suggest:?} {shards}");
            corrected += usize::from(ours.corrected().is_some());
        }
        assert!(corrected > 50, "{corrected}");
        scratch.delete().await;
    }
}
