//! Loading a shared object and the universal call.
#![expect(unsafe_code, reason = "foreign code is loaded and called; the confined process is the boundary")]

use std::path::{Path, PathBuf};

use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};

/// Integer-class arguments that a call can carry.
pub const MAX_WORDS: usize = 24;
/// Float-class arguments that a call can carry.
pub const MAX_FLOATS: usize = 8;

type Words = [u64; MAX_WORDS];
type Floats = [u64; MAX_FLOATS];

macro_rules! universal {
    ($output:ty) => {
        unsafe extern "C" fn(
            u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64, u64,
            u64, u64, u64, f64, f64, f64, f64, f64, f64, f64, f64,
        ) -> $output
    };
}

type Action = universal!(());
type Measure = universal!(f64);

macro_rules! invoke {
    ($function:expr, $w:expr, $f:expr) => {
        $function(
            $w[0],
            $w[1],
            $w[2],
            $w[3],
            $w[4],
            $w[5],
            $w[6],
            $w[7],
            $w[8],
            $w[9],
            $w[10],
            $w[11],
            $w[12],
            $w[13],
            $w[14],
            $w[15],
            $w[16],
            $w[17],
            $w[18],
            $w[19],
            $w[20],
            $w[21],
            $w[22],
            $w[23],
            f64::from_bits($f[0]),
            f64::from_bits($f[1]),
            f64::from_bits($f[2]),
            f64::from_bits($f[3]),
            f64::from_bits($f[4]),
            f64::from_bits($f[5]),
            f64::from_bits($f[6]),
            f64::from_bits($f[7]),
        )
    };
}

/// Why a code object cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The dynamic linker refused it.
    #[error("cannot load {path}: {message}")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the dynamic linker said.
        message: String,
    },
    /// It does not hold a symbol.
    #[error("symbol `{symbol}` is not in the code object")]
    Symbol {
        /// The symbol.
        symbol: String,
    },
    /// A call needs more arguments than the universal call can carry.
    #[error(
        "{words} integer and {floats} float arguments; at most {MAX_WORDS} and {MAX_FLOATS} can be passed"
    )]
    Arguments {
        /// Integer-class arguments.
        words: usize,
        /// Float-class arguments.
        floats: usize,
    },
}

/// A loaded shared object; it stays loaded until the process ends, because its threads may still be parked in it.
#[derive(Debug)]
pub struct CodeObject {
    library: std::mem::ManuallyDrop<Library>,
}

/// An exported function of a loaded object.
#[derive(Debug, Clone, Copy)]
pub struct Symbol {
    address: *const (),
}

impl CodeObject {
    /// Loads a file with all symbols bound at once and none of them visible to other objects.
    pub fn open(path: &Path) -> Result<Self, LoadError> {
        // SAFETY: constructors of the object run here. The caller is a confined process that owns nothing of value.
        let opened = unsafe { Library::open(Some(path), RTLD_NOW | RTLD_LOCAL) };
        let library =
            opened.map_err(|error| LoadError::Open { path: path.to_owned(), message: error_text(&error) })?;
        Ok(Self { library: std::mem::ManuallyDrop::new(library) })
    }

    /// Finds an exported function.
    pub fn symbol(&self, name: &str) -> Result<Symbol, LoadError> {
        let missing = || LoadError::Symbol { symbol: name.to_owned() };
        // SAFETY: the symbol is only ever used as an address of a function with the universal signature.
        let found = unsafe { self.library.get::<Action>(name.as_bytes()) }.map_err(|_| missing())?;
        let address = *found as *const ();
        if address.is_null() { Err(missing()) } else { Ok(Symbol { address }) }
    }
}

impl Symbol {
    /// Calls the function with integer-class and float-class arguments, each in order.
    ///
    /// Under System V (x86-64) and AAPCS64 the two classes are passed independently: integers in registers and then on
    /// the stack, floats in vector registers. A callee that takes fewer arguments does not look at the rest. `floats`
    /// holds bit patterns; a 32-bit float stands in the low half.
    pub fn call(&self, words: &[u64], floats: &[u64]) -> Result<(), LoadError> {
        let (words, floats) = padded(words, floats)?;
        self.call_padded(&words, &floats);
        Ok(())
    }

    /// The same with arguments that are padded already; this is the call that is timed.
    #[inline]
    pub fn call_padded(&self, words: &Words, floats: &Floats) {
        // SAFETY: `address` is an exported function. What it does with its arguments is its own affair: the process is
        // confined, and every tensor that it can reach was mapped for it.
        unsafe {
            let function = std::mem::transmute::<*const (), Action>(self.address);
            invoke!(function, words, floats);
        }
    }

    /// Calls a function that returns a double.
    pub fn measure(&self, words: &[u64], floats: &[u64]) -> Result<f64, LoadError> {
        let (words, floats) = padded(words, floats)?;
        // SAFETY: as in `call_padded`.
        Ok(unsafe {
            let function = std::mem::transmute::<*const (), Measure>(self.address);
            invoke!(function, words, floats)
        })
    }
}

fn padded(words: &[u64], floats: &[u64]) -> Result<(Words, Floats), LoadError> {
    if words.len() > MAX_WORDS || floats.len() > MAX_FLOATS {
        return Err(LoadError::Arguments { words: words.len(), floats: floats.len() });
    }
    let mut all = ([0; MAX_WORDS], [0; MAX_FLOATS]);
    all.0[..words.len()].copy_from_slice(words);
    all.1[..floats.len()].copy_from_slice(floats);
    Ok(all)
}

fn error_text(error: &libloading::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(clippy::many_single_char_names, reason = "more than fit in registers")]
    extern "C" fn many(
        a: u64,
        x: f32,
        b: u64,
        c: i64,
        d: u64,
        e: u64,
        f: u64,
        g: u64,
        h: i64,
        y: f64,
    ) -> f64 {
        (a + b + d + e + f + g) as f64 + (c * h) as f64 + f64::from(x) * y
    }

    #[test]
    fn integers_and_floats_travel_independently() {
        let symbol = Symbol { address: many as *const () };
        let floats = [u64::from(1.5_f32.to_bits()), 4.0_f64.to_bits()];
        let words = [1, 2, (-3_i64) as u64, 4, 5, 6, 7, 10];
        let value = symbol.measure(&words, &floats).unwrap();
        assert!((value - (25.0 - 30.0 + 6.0)).abs() < 1e-12, "{value}");
        assert!(matches!(symbol.call(&[0; 25], &[]), Err(LoadError::Arguments { words: 25, .. })));
    }

    #[test]
    fn a_missing_file_is_named() {
        let error = CodeObject::open(Path::new("/nonexistent/kernel.so")).unwrap_err();
        assert!(error.to_string().contains("kernel.so"), "{error}");
    }
}
