//! What one search sees: the segments of one commit and the statistics over all of them.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};

use statehouse_core::{Error, ErrorKind, Result};
use tantivy::columnar::{Column, StrColumn};
use tantivy::directory::FileSlice;
use tantivy::fieldnorm::FieldNormReader;
use tantivy::index::SegmentId;
use tantivy::postings::TermInfo;
use tantivy::schema::Field as Slot;
use tantivy::{InvertedIndexReader, Searcher, SegmentReader, Term};

use super::census::{Census, Lengths};
use super::document::Length;
use super::error::{BACKEND, map_error, map_io};
use super::impacts::{Impacts, KnownImpacts};
use super::mapping::{ID, Mapping, VERSION, length_name, slot_name};
use super::ordinals::Ordinals;
use crate::work::Stop;

const K1: f32 = 1.2;
const B: f32 = 0.75;

pub(super) struct Snapshot {
    pub(super) searcher: Searcher,
    pub(super) mapping: Arc<Mapping>,
    pub(super) segments: Vec<Segment>,
    statistics: Vec<Statistics>,
    /// For each field, the numbers of its values, once they were needed.
    ordinals: Vec<OnceLock<Arc<Ordinals>>>,
}

impl std::fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Snapshot({} documents)", self.searcher.num_docs())
    }
}

pub(super) struct Segment {
    pub(super) reader: SegmentReader,
    pub(super) ids: StrColumn,
    versions: Column<u64>,
    terms: Vec<Option<Arc<InvertedIndexReader>>>,
    norms: Vec<Option<FieldNormReader>>,
    census: Arc<Census>,
    lows: Arc<Lows>,
    impacts: Arc<KnownImpacts>,
}

/// The least ordinals of ids.
pub(super) struct Lows {
    /// Of each block of documents.
    pub(super) of: Vec<u64>,
    /// Of each block and all behind it.
    pub(super) rest: Vec<u64>,
}

/// How many documents there are to a block.
pub(super) const BLOCK: u32 = 128;

/// A text field over all segments, as BM25 needs it: of living documents only.
#[derive(Clone, Debug)]
pub(super) struct Statistics {
    /// Documents with at least one term in the field.
    pub(super) documents: u64,
    /// For each length byte, what a frequency is multiplied by before it is saturated.
    pub(super) saturation: Arc<[f32; 256]>,
}

impl Snapshot {
    /// Reads what is needed of every segment. What the previous snapshot knows of a segment is not counted again.
    pub(super) fn new(searcher: Searcher, mapping: Arc<Mapping>, previous: Option<&Self>) -> Result<Self> {
        let known: HashMap<SegmentId, &Segment> = previous
            .into_iter()
            .flat_map(|snapshot| &snapshot.segments)
            .map(|segment| (segment.reader.segment_id(), segment))
            .collect();
        let segments = searcher.segment_readers().iter();
        let segments = segments.map(|reader| Segment::new(reader, &mapping, known.get(&reader.segment_id()).copied()));
        let segments = segments.collect::<Result<Vec<_>>>()?;
        let places = 0..mapping.slots.len();
        let statistics = places.map(|place| Statistics::new(&segments, place)).collect();
        let ordinals = mapping.slots.iter().map(|_| OnceLock::new()).collect();
        Ok(Self { searcher, mapping, segments, statistics, ordinals })
    }

    /// The numbers of a keyword field's values over all segments.
    pub(super) fn ordinals(&self, place: usize, stop: &Stop) -> Result<Arc<Ordinals>> {
        if let Some(known) = self.ordinals[place].get() {
            return Ok(Arc::clone(known));
        }
        let columns = self.segments.iter().map(|segment| segment.texts(place)).collect::<Result<Vec<_>>>()?;
        let found = Arc::new(Ordinals::new(&columns, stop)?);
        Ok(Arc::clone(self.ordinals[place].get_or_init(|| found)))
    }

    pub(super) fn statistics(&self, place: usize) -> &Statistics {
        &self.statistics[place]
    }

    pub(super) fn version(&self, segment: usize, doc: u32) -> u64 {
        self.segments[segment].versions.first(doc).unwrap_or_default()
    }

    /// Where the document of an id is, if it is there.
    pub(super) fn find(&self, id: &str) -> Result<Option<(usize, u32)>> {
        let term = Term::from_field_text(self.mapping.id, id);
        for (at, segment) in self.segments.iter().enumerate() {
            let inverted = segment.inverted(self.mapping.id)?;
            let option = tantivy::schema::IndexRecordOption::Basic;
            let Some(mut postings) = inverted.read_postings(&term, option).map_err(map_io)? else { continue };
            let mut doc = tantivy::DocSet::doc(&postings);
            while doc != tantivy::TERMINATED {
                if !segment.reader.is_deleted(doc) {
                    return Ok(Some((at, doc)));
                }
                doc = tantivy::DocSet::advance(&mut postings);
            }
        }
        Ok(None)
    }
}

impl Segment {
    fn new(reader: &SegmentReader, mapping: &Mapping, previous: Option<&Self>) -> Result<Self> {
        let fast = reader.fast_fields();
        let ids = fast.str(ID).map_err(map_error)?.ok_or_else(incomplete)?;
        let versions = fast.u64(VERSION).map_err(map_error)?;
        let fields = mapping.schema.fields().iter().zip(&mapping.slots);
        let terms = mapping.slots.iter().map(|slot| slot.map(|slot| reader.inverted_index(slot)).transpose());
        let terms = terms.collect::<Result<Vec<_>, _>>().map_err(map_error)?;
        let norms = fields.enumerate().map(|(place, (field, slot))| match slot {
            Some(slot) if field.is_text() && mapping.has_norms(place) => reader.get_fieldnorms_reader(*slot).map(Some),
            Some(_) if field.is_text() => match previous.and_then(|previous| previous.norms(place)) {
                Some(known) => Ok(Some(known.clone())),
                None => norms_of(reader, place).map(Some),
            },
            _ => Ok(None),
        });
        let norms = norms.collect::<Result<Vec<_>, _>>().map_err(map_error)?;
        let same = previous.filter(|previous| previous.reader.delete_opstamp() == reader.delete_opstamp());
        let census = match same {
            Some(same) => Arc::clone(&same.census),
            None => Arc::new(census(reader, &norms, previous.map(|previous| &*previous.census))?),
        };
        let (lows, impacts) = match previous {
            Some(previous) => (Arc::clone(&previous.lows), Arc::clone(&previous.impacts)),
            None => (Arc::new(Lows::new(ids.ords(), reader.max_doc())), Arc::new(KnownImpacts::new(reader.max_doc()))),
        };
        Ok(Self { reader: reader.clone(), ids, versions, terms, norms, census, lows, impacts })
    }

    pub(super) fn lows(&self) -> &Lows {
        &self.lows
    }

    /// What the documents of a term score by, block by block; `length` gives the byte of each. None if it is faster to go
    /// without.
    pub(super) fn impacts(
        &self,
        place: usize,
        info: &TermInfo,
        length: impl Fn(u32) -> u8,
        stop: &Stop,
    ) -> Result<Option<Arc<Impacts>>> {
        match self.terms(place) {
            Some(inverted) => self.impacts.of((place, inverted), info, length, stop),
            None => Ok(Some(Arc::default())),
        }
    }

    pub(super) fn terms(&self, place: usize) -> Option<&InvertedIndexReader> {
        self.terms[place].as_deref()
    }

    pub(super) fn norms(&self, place: usize) -> Option<&FieldNormReader> {
        self.norms[place].as_ref()
    }

    /// The numbers of a sortable field, or the ordinals of its texts; `None` if no document has any.
    pub(super) fn column(&self, place: usize) -> Result<Option<Column<u64>>> {
        let column = self.reader.fast_fields().u64_lenient(&slot_name(place)).map_err(map_error)?;
        Ok(column.map(|(column, _)| column))
    }

    /// The values of a sortable keyword field; `None` if no document has any.
    pub(super) fn texts(&self, place: usize) -> Result<Option<StrColumn>> {
        self.reader.fast_fields().str(&slot_name(place)).map_err(map_error)
    }

    pub(super) fn inverted(&self, slot: Slot) -> Result<Arc<InvertedIndexReader>> {
        self.reader.inverted_index(slot).map_err(map_error)
    }

    /// How many living documents have a term.
    pub(super) fn frequency(&self, place: usize, info: &TermInfo, stop: &Stop) -> Result<u64> {
        match self.terms(place) {
            Some(inverted) => self.census.frequency(&self.reader, (place, inverted), info, stop),
            None => Ok(0),
        }
    }

    /// About how many postings have to be read to know that.
    pub(super) fn frequency_cost(&self, info: &TermInfo) -> u64 {
        self.census.cost(info)
    }

    /// The text that an ordinal of the ids stands for.
    pub(super) fn id(&self, ordinal: u64) -> Result<String> {
        let mut id = String::new();
        let found = self.ids.ord_to_str(ordinal, &mut id).map_err(map_io)?;
        if found { Ok(id) } else { Err(incomplete()) }
    }
}

/// The lengths of a text field of which tantivy keeps none, as it would have kept them.
fn norms_of(reader: &SegmentReader, place: usize) -> tantivy::Result<FieldNormReader> {
    let Some((lengths, _)) = reader.fast_fields().u64_lenient(&length_name(place))? else {
        return Ok(FieldNormReader::constant(reader.max_doc(), 0));
    };
    let length = |doc| Length::of(lengths.first(doc).unwrap_or_default()).words();
    let norms: Vec<_> = (0..reader.max_doc()).map(|doc| FieldNormReader::fieldnorm_to_id(length(doc))).collect();
    FieldNormReader::open(FileSlice::from(norms))
}

impl Lows {
    fn new(ids: &Column<u64>, documents: u32) -> Self {
        let mut block = [None; BLOCK as usize];
        let lows = (0..documents).step_by(BLOCK as usize).map(|start| {
            let docs: Vec<_> = (start..documents.min(start.saturating_add(BLOCK))).collect();
            let values = &mut block[..docs.len()];
            values.fill(None);
            ids.first_vals(&docs, values);
            values.iter().flatten().copied().min().unwrap_or_default()
        });
        let of: Vec<u64> = lows.collect();
        let mut rest = of.clone();
        for at in (1..rest.len()).rev() {
            rest[at - 1] = rest[at - 1].min(rest[at]);
        }
        Self { of, rest }
    }
}

fn census(reader: &SegmentReader, norms: &[Option<FieldNormReader>], previous: Option<&Census>) -> Result<Census> {
    let fast = reader.fast_fields();
    let columns = norms.iter().enumerate().map(|(place, norms)| match norms {
        Some(_) => fast.u64_lenient(&length_name(place)).map(|column| column.map(|(column, _)| column)),
        None => Ok(None),
    });
    let columns = columns.collect::<Result<Vec<_>, _>>().map_err(map_error)?;
    let lengths = norms.iter().zip(&columns);
    let lengths = lengths.map(|(norms, exact)| norms.as_ref().map(|norms| Lengths { norms, exact: exact.as_ref() }));
    Ok(Census::take(reader, &lengths.collect::<Vec<_>>(), previous))
}

impl Statistics {
    fn new(segments: &[Segment], place: usize) -> Self {
        let documents: u64 = segments.iter().map(|segment| segment.census.living(place).documents).sum();
        let tokens: u64 = segments.iter().map(|segment| segment.census.living(place).tokens).sum();
        let average = average(tokens, documents);
        let saturation = std::array::from_fn(|byte| {
            let length = FieldNormReader::id_to_fieldnorm(u8::try_from(byte).unwrap_or(u8::MAX));
            // BM25Similarity of Lucene 10, in its order of operations: all of it in single precision.
            #[expect(clippy::cast_precision_loss, reason = "Lucene's table of lengths is single precision too")]
            let length = length as f32;
            1.0 / (K1 * ((1.0 - B) + B * length / average))
        });
        Self { documents, saturation: Arc::new(saturation) }
    }

    /// How rare a term is: in double precision, then rounded, as in Lucene.
    #[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "Lucene does the same")]
    pub(super) fn idf(&self, frequency: u64) -> f32 {
        let (documents, frequency) = (self.documents as f64, frequency as f64);
        (1.0 + (documents - frequency + 0.5) / (frequency + 0.5)).ln() as f32
    }
}

#[expect(clippy::cast_precision_loss, clippy::cast_possible_truncation, reason = "Lucene does the same")]
fn average(tokens: u64, documents: u64) -> f32 {
    (tokens as f64 / documents as f64) as f32
}

fn incomplete() -> Error {
    Error::new(ErrorKind::Corrupt, "the index is damaged; rebuild it from its source").with_backend(BACKEND)
}
