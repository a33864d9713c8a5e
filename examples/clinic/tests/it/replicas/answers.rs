use std::collections::BTreeSet;
use std::io::Read;

use flate2::read::GzDecoder;

use super::{fleet, servers};
use crate::client::Client;
use crate::clinic;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_replica_and_the_embedded_clinic_give_the_same_answers() {
    let servers = servers().await;
    let (fleet, _balancer) = fleet(&servers).await;
    let embedded = Client::logged_in(clinic::shared().await.address(), "ada").await;
    let mut replicas = Vec::new();
    for replica in fleet.replicas() {
        replicas.push(Client::logged_in(replica.address(), "ada").await);
    }
    let (mut found, mut marked) = (0, 0);
    for (typed, chapter) in &searches() {
        let expected = embedded.concepts(typed, chapter).await.unwrap();
        found += usize::from(expected["total"] != 0);
        marked += usize::from(expected["hits"].to_string().contains(",true]"));
        for replica in &replicas {
            let answer = replica.concepts(typed, chapter).await.unwrap();
            for part in ["total", "chapters"] {
                assert_eq!(answer[part], expected[part], "{part} of {typed:?} in {chapter:?}");
            }
            let (hits, expected) = (answer["hits"].as_array().unwrap(), expected["hits"].as_array().unwrap());
            for (place, (hit, expected)) in hits.iter().zip(expected).enumerate() {
                assert_eq!(hit, expected, "hit {place} of {typed:?} in {chapter:?}");
            }
            assert_eq!(hits.len(), expected.len());
        }
    }
    assert!(found > 180 && marked > 180, "nearly all searches find something and mark it: {found}, {marked}");
}

/// 200 searches for 50 diagnoses from all over the terminology: the beginning of a word, words in another order with
/// the last unfinished, a letter left out, and words within a chapter.
fn searches() -> BTreeSet<(String, String)> {
    let mut rows = String::new();
    let packed = include_bytes!("../../../../data/icd10cm-2025-04.tsv.gz");
    GzDecoder::new(&packed[..]).read_to_string(&mut rows).unwrap();
    let mut searches = BTreeSet::new();
    for row in rows.lines().skip(300).step_by(271) {
        let columns: Vec<_> = row.split('\t').collect();
        let words: Vec<_> = columns[3].split(' ').filter(|word| is_plain(word)).collect();
        let [first, .., last] = words[..] else { continue };
        let four = [
            (first[..3 + searches.len() % 3].to_owned(), ""),
            (format!("{last} {}", &first[..4]), ""),
            (format!("{}{} {last} ", &first[..2], &first[3..]), ""),
            (format!("{first} {}", last.to_uppercase()), columns[2]),
        ];
        let four = four.map(|(typed, chapter)| (typed, chapter.to_owned()));
        if searches.len() < 200 && four.iter().all(|search| !searches.contains(search)) {
            searches.extend(four);
        }
    }
    assert_eq!(searches.len(), 200);
    searches
}

fn is_plain(word: &str) -> bool {
    word.len() > 5 && word.bytes().all(|byte| byte.is_ascii_alphabetic())
}
