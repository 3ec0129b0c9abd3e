//! Brute-forced spaces as T4 result files: JSON, plain or gzipped, one object a configuration.
//!
//! T4 is the output format of the autotuning community's shared benchmarks (Kernel Tuner writes it). Of each result only `configuration`, `invalidity`, `measurements` and `objectives` are read; the rest is skipped as it streams by.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use flate2::read::MultiGzDecoder;
use kernsmith_autotune::{Dimension, Point, Space, Values};
use serde::Deserialize;
use serde_json::Value;

use crate::error::BenchError;

/// The word with which a result says that it is good.
const CORRECT: &str = "correct";
const GZIP_MAGIC: [u8; 2] = [0x1f, 0x8b];

/// A space of which every legal configuration was measured once.
#[derive(Debug, Clone)]
pub struct RecordedSpace {
    /// The file's name without its endings.
    pub name: String,
    /// The legal configurations.
    pub space: Space,
    /// The measured objective (a time; lower is better) of each legal configuration; `None` where it failed.
    pub times: HashMap<Point, Option<f64>>,
    /// The lowest time.
    pub optimum: f64,
}

#[derive(Deserialize)]
struct Document {
    results: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    configuration: BTreeMap<String, Value>,
    #[serde(default)]
    invalidity: Option<String>,
    #[serde(default)]
    measurements: Vec<Measurement>,
    #[serde(default)]
    objectives: Vec<String>,
}

#[derive(Deserialize)]
struct Measurement {
    name: String,
    value: Value,
}

impl RecordedSpace {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, BenchError> {
        let read = |source| BenchError::Read { path: path.to_owned(), source };
        let mut file = BufReader::new(File::open(path).map_err(read)?);
        let zipped = file.fill_buf().map_err(read)?.starts_with(&GZIP_MAGIC);
        let reader: Box<dyn Read> =
            if zipped { Box::new(BufReader::new(MultiGzDecoder::new(file))) } else { Box::new(file) };
        let wrong = |problem: String| BenchError::Format { path: path.to_owned(), problem };
        let document: Document = serde_json::from_reader(reader).map_err(|error| wrong(error.to_string()))?;
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let name = name.split('.').next().unwrap_or_default().to_owned();
        Self::of(name, &document.results).map_err(wrong)
    }

    fn of(name: String, rows: &[Row]) -> Result<Self, String> {
        let first = rows.first().ok_or("it has no results")?;
        let names: Vec<String> = first.configuration.keys().cloned().collect();
        let mut seen: Vec<BTreeMap<String, Value>> = vec![BTreeMap::new(); names.len()];
        for (at, row) in rows.iter().enumerate() {
            if !row.configuration.keys().eq(names.iter()) {
                return Err(format!("results[{at}].configuration has other names than results[0]"));
            }
            for (known, value) in seen.iter_mut().zip(row.configuration.values()) {
                known.entry(value.to_string()).or_insert_with(|| value.clone());
            }
        }
        let domains: Vec<Domain> = seen.into_iter().map(|seen| Domain::new(seen.into_values())).collect();
        let mut times = HashMap::new();
        for (at, row) in rows.iter().enumerate() {
            let place = |(domain, value): (&Domain, &Value)| domain.index(value);
            let point: Option<Point> = domains.iter().zip(row.configuration.values()).map(place).collect();
            let point =
                point.ok_or_else(|| format!("results[{at}].configuration is neither numbers nor words"))?;
            times.entry(point).or_insert_with(|| row.time());
        }
        let optimum = times.values().copied().flatten().reduce(f64::min).ok_or("no configuration passed")?;
        let dimensions = names.into_iter().zip(&domains);
        let dimensions =
            dimensions.map(|(name, domain)| Dimension { name, values: domain.values() }).collect();
        let space = Space::of_points(dimensions, times.keys().cloned().collect());
        Ok(Self { name, space, times, optimum })
    }

    /// Configurations that failed.
    pub fn failing(&self) -> usize {
        self.times.values().filter(|time| time.is_none()).count()
    }
}

impl Row {
    /// The objective, where the configuration is correct and the number is a positive one.
    fn time(&self) -> Option<f64> {
        if self.invalidity.as_deref().is_some_and(|word| word != CORRECT) {
            return None;
        }
        let objective = self.objectives.first();
        let is_objective = |one: &&Measurement| objective.is_none_or(|name| *name == one.name);
        let time = self.measurements.iter().find(is_objective)?.value.as_f64()?;
        (time.is_finite() && time > 0.0).then_some(time)
    }
}

/// The values of one parameter.
struct Domain {
    /// Ascending where all are numbers.
    numbers: Option<Vec<f64>>,
    words: Vec<String>,
}

impl Domain {
    fn new(values: impl Iterator<Item = Value>) -> Self {
        let values: Vec<Value> = values.collect();
        let numbers: Option<Vec<f64>> = values.iter().map(Value::as_f64).collect();
        let numbers = numbers.map(|mut numbers| {
            numbers.sort_by(f64::total_cmp);
            numbers.dedup();
            numbers
        });
        let words: BTreeSet<String> = values.iter().map(Value::to_string).collect();
        Self { numbers, words: words.into_iter().collect() }
    }

    fn index(&self, value: &Value) -> Option<u16> {
        let place = match &self.numbers {
            Some(numbers) => {
                let value = value.as_f64()?;
                numbers.binary_search_by(|number| number.total_cmp(&value)).ok()
            }
            None => self.words.binary_search(&value.to_string()).ok(),
        };
        u16::try_from(place?).ok()
    }

    fn values(&self) -> Values {
        match &self.numbers {
            Some(numbers) => Values::Ordered(numbers.clone()),
            None => Values::Categorical(self.words.len()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    const TEXT: &str = r#"{"metadata": {}, "results": [
        {"configuration": {"block": 32, "mode": "a"}, "times": {"runtimes": [1, 2]}, "invalidity": "correct",
         "measurements": [{"name": "power", "value": 3}, {"name": "time", "value": 2.0}], "objectives": ["time"]},
        {"configuration": {"block": 8, "mode": "a"}, "invalidity": "runtime",
         "measurements": [{"name": "time", "value": 1.0}], "objectives": ["time"]},
        {"configuration": {"block": 8, "mode": "b"}, "invalidity": "correct",
         "measurements": [{"name": "time", "value": 4.0}], "objectives": ["time"]}]}"#;

    fn read(bytes: &[u8]) -> Result<RecordedSpace, BenchError> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("toy_A100.t4.json.gz");
        std::fs::write(&path, bytes).unwrap();
        RecordedSpace::read(&path)
    }

    #[test]
    fn plain_and_gzipped_files_give_the_same_space() {
        let mut zip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        zip.write_all(TEXT.as_bytes()).unwrap();
        for bytes in [TEXT.as_bytes().to_vec(), zip.finish().unwrap()] {
            let toy = read(&bytes).unwrap();
            assert_eq!((toy.name.as_str(), toy.optimum, toy.failing()), ("toy_A100", 2.0, 1));
            assert_eq!(toy.space.listed().unwrap(), [[0, 0], [0, 1], [1, 0]]);
            assert_eq!((toy.times[&vec![1, 0]], toy.times[&vec![0, 0]]), (Some(2.0), None));
            assert_eq!(toy.space.dimensions()[0].values, Values::Ordered(vec![8.0, 32.0]));
            assert_eq!(toy.space.dimensions()[1].values, Values::Categorical(2));
        }
    }

    #[test]
    fn what_is_wrong_with_a_file_is_named() {
        let problem = |text: &str| read(text.as_bytes()).unwrap_err().to_string();
        assert!(problem("{\"results\": []}").contains("no results"));
        assert!(problem("{\"results\": 3}").contains("line 1"));
        let other = TEXT.replacen("\"mode\": \"b\"", "\"word\": \"b\"", 1);
        assert!(problem(&other).contains("results[2].configuration"));
        assert!(problem(&TEXT.replace("correct", "compile")).contains("no configuration passed"));
    }
}
