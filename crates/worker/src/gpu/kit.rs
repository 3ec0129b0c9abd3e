//! The trusted kernels that steps use; their source is the harness's `gpu/kit.cu`.

use kernsmith_device::cuda::{Context, CudaError, Function, KernelCall, Module, Range, TensorMapBytes};
use kernsmith_wire::gpu::GROUPS;

/// Threads of a block of every trusted kernel.
const THREADS: u32 = 256;
/// Blocks a multiprocessor: enough to fill it.
const BLOCKS_PER_SM: u32 = 8;
/// Answers that one run can hold.
const ANSWERS: u64 = 4096;

/// The loaded kernels, and where they write their answers.
pub(super) struct Kit {
    poison: Function,
    find_poison: Function,
    find_change: Function,
    find_non_finite: Function,
    sum: Function,
    differences: Function,
    flush: Function,
    copy: Function,
    multiply: Function,
    answers: Range,
    blocks: u32,
    _module: Module,
}

impl Kit {
    pub(super) fn load(context: &Context, image: &[u8]) -> Result<Self, CudaError> {
        let module = context.load(image)?;
        let find = |symbol| context.function(&module, symbol);
        Ok(Self {
            poison: find("kit_poison")?,
            find_poison: find("kit_find_poison")?,
            find_change: find("kit_find_change")?,
            find_non_finite: find("kit_find_non_finite")?,
            sum: find("kit_sum")?,
            differences: find("kit_differences")?,
            flush: find("kit_flush")?,
            copy: find("kit_copy")?,
            multiply: find("kit_multiply")?,
            answers: context.reserve(8 * ANSWERS)?,
            blocks: context.info().sm_count * BLOCKS_PER_SM,
            _module: module,
        })
    }

    /// The answers to so many questions.
    pub(super) fn end(&self, context: &Context, questions: usize) -> Result<Vec<u64>, CudaError> {
        let mut bytes = vec![0; 8 * questions];
        if !bytes.is_empty() {
            context.download(self.answers.address, &mut bytes)?;
        }
        let (words, _) = bytes.as_chunks::<8>();
        Ok(words.iter().map(|word| u64::from_ne_bytes(*word)).collect())
    }

    pub(super) fn poison(
        &self,
        context: &Context,
        place: (u64, u64),
        cell: u32,
        secret: u64,
    ) -> Result<(), CudaError> {
        self.start(context, self.poison, &[place.0, place.1, u64::from(cell), secret])
    }

    pub(super) fn find_poison(
        &self,
        context: &Context,
        place: (u64, u64),
        cell: u32,
        secret: u64,
        question: usize,
    ) -> Result<(), CudaError> {
        let answer = self.answer(context, question, false)?;
        self.start(context, self.find_poison, &[place.0, place.1, u64::from(cell), secret, answer])
    }

    pub(super) fn find_change(
        &self,
        context: &Context,
        place: (u64, u64),
        secret: u64,
        question: usize,
    ) -> Result<(), CudaError> {
        let answer = self.answer(context, question, false)?;
        self.start(context, self.find_change, &[place.0, place.1, secret, answer])
    }

    pub(super) fn find_non_finite(
        &self,
        context: &Context,
        place: (u64, u64),
        cell: u32,
        question: usize,
    ) -> Result<(), CudaError> {
        let answer = self.answer(context, question, false)?;
        self.start(context, self.find_non_finite, &[place.0, place.1, u64::from(cell), answer])
    }

    pub(super) fn sum(&self, context: &Context, place: (u64, u64), question: usize) -> Result<(), CudaError> {
        let answer = self.answer(context, question, true)?;
        self.start(context, self.sum, &[place.0, place.1, answer])
    }

    pub(super) fn differences(
        &self,
        context: &Context,
        (ours, theirs): (u64, u64),
        (rows, row_elements): (u64, u64),
        cell: u32,
        question: usize,
    ) -> Result<(), CudaError> {
        for group in 1..GROUPS {
            self.answer(context, question + group, true)?;
        }
        let answers = self.answer(context, question, true)?;
        let words = [ours, theirs, rows, row_elements, u64::from(cell), answers];
        self.start(context, self.differences, &words)
    }

    pub(super) fn flush(&self, context: &Context, place: (u64, u64)) -> Result<(), CudaError> {
        self.start(context, self.flush, &[place.0, place.1])
    }

    pub(super) fn copy(&self, context: &Context, from: u64, to: u64, bytes: u64) -> Result<(), CudaError> {
        self.start(context, self.copy, &[from, to, bytes])
    }

    pub(super) fn multiply(
        &self,
        context: &Context,
        address: u64,
        rounds: u32,
        blocks: u32,
    ) -> Result<(), CudaError> {
        launch(context, self.multiply, blocks, &[address, u64::from(rounds)])
    }

    /// Where a question's answer goes. It is set right before it is asked, behind everything that a candidate has done:
    /// finding kernels take the least index from there, sums and differences begin at zero.
    fn answer(&self, context: &Context, question: usize, sum: bool) -> Result<u64, CudaError> {
        if question as u64 >= ANSWERS {
            return Err(CudaError::Invalid(format!("more than {ANSWERS} questions in one run")));
        }
        let address = self.answers.address + 8 * question as u64;
        context.fill(address, if sum { 0 } else { u32::MAX }, 2)?;
        Ok(address)
    }

    fn start(&self, context: &Context, function: Function, words: &[u64]) -> Result<(), CudaError> {
        launch(context, function, self.blocks, words)
    }
}

fn launch(context: &Context, function: Function, blocks: u32, words: &[u64]) -> Result<(), CudaError> {
    context.launch(&KernelCall {
        function,
        grid: [blocks, 1, 1],
        block: [THREADS, 1, 1],
        cluster: None,
        shared_bytes: 0,
        cooperative: false,
        programmatic: false,
        parameters: words.iter().map(|word| word_bytes(*word)).collect(),
    })
}

/// A number as a parameter.
pub(super) fn word_bytes(word: u64) -> TensorMapBytes {
    let mut bytes = [0; 128];
    bytes[..8].copy_from_slice(&word.to_ne_bytes());
    TensorMapBytes(bytes)
}
