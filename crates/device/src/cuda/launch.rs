//! Launches and tensor maps.
#![expect(unsafe_code, reason = "the driver is a C library")]

use std::ffi::c_void;

use cudarc::driver::sys::{
    self, CUlaunchAttribute, CUlaunchAttributeID_enum as Id, CUlaunchAttributeValue,
    CUlaunchAttributeValue_union__bindgen_ty_1 as ClusterDim, CUlaunchConfig, CUtensorMap,
    CUtensorMapDataType_enum as DataType, CUtensorMapFloatOOBfill_enum, CUtensorMapInterleave_enum,
    CUtensorMapL2promotion_enum as L2, CUtensorMapSwizzle_enum as Pattern,
};

use super::context::Context;
use super::driver::{CudaError, check};
use super::module::Function;

/// One launch with everything that it takes.
#[derive(Debug, Clone)]
pub struct KernelCall {
    /// The kernel.
    pub function: Function,
    /// Blocks.
    pub grid: [u32; 3],
    /// Threads of a block.
    pub block: [u32; 3],
    /// Blocks of a cluster; `None` where there are no clusters.
    pub cluster: Option<[u32; 3]>,
    /// Dynamic shared memory of a block in bytes.
    pub shared_bytes: u32,
    /// Whether all blocks must be resident together.
    pub cooperative: bool,
    /// Whether it may begin before the launch in front of it has ended.
    pub programmatic: bool,
    /// The parameters' bytes, each as long as the kernel says.
    pub parameters: Vec<TensorMapBytes>,
}

/// Bytes of one parameter: a number, a pointer or a tensor map; aligned as a tensor map must be.
#[derive(Debug, Clone, Copy)]
#[repr(C, align(128))]
pub struct TensorMapBytes(pub [u8; 128]);

/// Element types of tensor maps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// Bytes.
    U8,
    /// 32-bit integers.
    I32,
    /// Half precision.
    F16,
    /// Brain floats.
    Bf16,
    /// Single precision.
    F32,
}

/// Permutation of a box in shared memory, by the bytes of its span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Swizzle {
    /// None.
    None,
    /// 32 bytes.
    B32,
    /// 64 bytes.
    B64,
    /// 128 bytes.
    B128,
}

/// What the L2 cache fetches ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promotion {
    /// Nothing.
    None,
    /// 64 bytes.
    B64,
    /// 128 bytes.
    B128,
    /// 256 bytes.
    B256,
}

/// A tensor map to be encoded; fields as `cuTensorMapEncodeTiled` has them.
#[derive(Debug, Clone)]
pub struct Map {
    /// Where the tensor begins.
    pub address: u64,
    /// What it holds.
    pub element: Element,
    /// Elements, innermost first.
    pub dims: Vec<u64>,
    /// Bytes from one index to the next, for all dimensions but the innermost.
    pub strides_bytes: Vec<u64>,
    /// Elements of a box.
    pub box_elements: Vec<u32>,
    /// Permutation.
    pub swizzle: Swizzle,
    /// Fetch granularity.
    pub promotion: Promotion,
}

impl Map {
    /// Encodes the map. The driver checks alignment, sizes and strides.
    pub fn encode(&self) -> Result<TensorMapBytes, CudaError> {
        let rank = self.dims.len();
        if rank == 0 || rank > 5 || self.box_elements.len() != rank || self.strides_bytes.len() + 1 != rank {
            return Err(CudaError::Invalid(format!("a tensor map of rank {rank} with unequal lists")));
        }
        let mut map = CUtensorMap { opaque: [0; 16] };
        let steps = [1_u32; 5];
        let element = match self.element {
            Element::U8 => DataType::CU_TENSOR_MAP_DATA_TYPE_UINT8,
            Element::I32 => DataType::CU_TENSOR_MAP_DATA_TYPE_INT32,
            Element::F16 => DataType::CU_TENSOR_MAP_DATA_TYPE_FLOAT16,
            Element::Bf16 => DataType::CU_TENSOR_MAP_DATA_TYPE_BFLOAT16,
            Element::F32 => DataType::CU_TENSOR_MAP_DATA_TYPE_FLOAT32,
        };
        let swizzle = match self.swizzle {
            Swizzle::None => Pattern::CU_TENSOR_MAP_SWIZZLE_NONE,
            Swizzle::B32 => Pattern::CU_TENSOR_MAP_SWIZZLE_32B,
            Swizzle::B64 => Pattern::CU_TENSOR_MAP_SWIZZLE_64B,
            Swizzle::B128 => Pattern::CU_TENSOR_MAP_SWIZZLE_128B,
        };
        let promotion = match self.promotion {
            Promotion::None => L2::CU_TENSOR_MAP_L2_PROMOTION_NONE,
            Promotion::B64 => L2::CU_TENSOR_MAP_L2_PROMOTION_L2_64B,
            Promotion::B128 => L2::CU_TENSOR_MAP_L2_PROMOTION_L2_128B,
            Promotion::B256 => L2::CU_TENSOR_MAP_L2_PROMOTION_L2_256B,
        };
        // SAFETY: all lists have as many entries as the rank says; the address is only noted.
        check("cuTensorMapEncodeTiled", unsafe {
            sys::cuTensorMapEncodeTiled(
                &raw mut map,
                element,
                rank as u32,
                self.address as *mut c_void,
                self.dims.as_ptr(),
                self.strides_bytes.as_ptr(),
                self.box_elements.as_ptr(),
                steps.as_ptr(),
                CUtensorMapInterleave_enum::CU_TENSOR_MAP_INTERLEAVE_NONE,
                swizzle,
                promotion,
                CUtensorMapFloatOOBfill_enum::CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE,
            )
        })?;
        let mut bytes = [0; 128];
        for (slot, word) in bytes.chunks_exact_mut(8).zip(map.opaque) {
            slot.copy_from_slice(&word.to_ne_bytes());
        }
        Ok(TensorMapBytes(bytes))
    }
}

impl Context {
    /// Puts a launch into the stream.
    pub fn launch(&self, call: &KernelCall) -> Result<(), CudaError> {
        let mut attributes = attributes(call);
        let config = CUlaunchConfig {
            gridDimX: call.grid[0],
            gridDimY: call.grid[1],
            gridDimZ: call.grid[2],
            blockDimX: call.block[0],
            blockDimY: call.block[1],
            blockDimZ: call.block[2],
            sharedMemBytes: call.shared_bytes,
            hStream: self.stream,
            attrs: attributes.as_mut_ptr(),
            numAttrs: attributes.len() as u32,
        };
        let mut pointers: Vec<*mut c_void> =
            call.parameters.iter().map(|bytes| std::ptr::from_ref(&bytes.0).cast_mut().cast()).collect();
        // SAFETY: there is one pointer a parameter (the worker has compared their number and sizes with the kernel's), each to
        // 128 readable bytes, the size of the largest parameter that is passed; the driver copies them before it returns.
        check("cuLaunchKernelEx", unsafe {
            sys::cuLaunchKernelEx(
                &raw const config,
                call.function.0,
                pointers.as_mut_ptr(),
                std::ptr::null_mut(),
            )
        })
    }
}

/// Launches that were recorded once and start together.
#[derive(Debug, Clone, Copy)]
pub struct Graph(sys::CUgraphExec);

impl Context {
    /// Records launches in their order, without starting them, and makes the device ready for them.
    pub fn graph(&self, launches: &[KernelCall]) -> Result<Graph, CudaError> {
        let mode = sys::CUstreamCaptureMode_enum::CU_STREAM_CAPTURE_MODE_THREAD_LOCAL;
        // SAFETY: the stream is alive, and nothing else is being recorded.
        check("cuStreamBeginCapture", unsafe { sys::cuStreamBeginCapture_v2(self.stream, mode) })?;
        let recorded = launches.iter().try_for_each(|launch| self.launch(launch));
        let (mut graph, mut ready) = (std::ptr::null_mut(), std::ptr::null_mut());
        // SAFETY: writes one handle. Recording must end whatever became of the launches.
        let ended = unsafe { sys::cuStreamEndCapture(self.stream, &raw mut graph) };
        recorded?;
        check("cuStreamEndCapture", ended)?;
        // SAFETY: the graph was just recorded; one handle is written.
        let instantiated = unsafe { sys::cuGraphInstantiateWithFlags(&raw mut ready, graph, 0) };
        // SAFETY: what was made of the graph does not need it any more.
        check("cuGraphDestroy", unsafe { sys::cuGraphDestroy(graph) })?;
        check("cuGraphInstantiate", instantiated)?;
        // SAFETY: both handles are alive.
        check("cuGraphUpload", unsafe { sys::cuGraphUpload(ready, self.stream) })?;
        Ok(Graph(ready))
    }

    /// Puts a graph into the stream.
    pub fn start(&self, graph: &Graph) -> Result<(), CudaError> {
        // SAFETY: both handles are alive.
        check("cuGraphLaunch", unsafe { sys::cuGraphLaunch(graph.0, self.stream) })
    }

    /// Gives a graph back; the stream has been waited for.
    pub fn discard(&self, graph: Graph) -> Result<(), CudaError> {
        let Graph(ready) = graph;
        // SAFETY: the handle is alive and not used again.
        check("cuGraphExecDestroy", unsafe { sys::cuGraphExecDestroy(ready) })
    }
}

fn attributes(call: &KernelCall) -> Vec<CUlaunchAttribute> {
    let mut list = Vec::new();
    let mut add = |id, value| list.push(CUlaunchAttribute { id, pad: [0; 4], value });
    if let Some([x, y, z]) = call.cluster {
        let blocks = ClusterDim { x, y, z };
        add(Id::CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION, CUlaunchAttributeValue { clusterDim: blocks });
    }
    if call.cooperative {
        add(Id::CU_LAUNCH_ATTRIBUTE_COOPERATIVE, CUlaunchAttributeValue { cooperative: 1 });
    }
    if call.programmatic {
        let value = CUlaunchAttributeValue { programmaticStreamSerializationAllowed: 1 };
        add(Id::CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION, value);
    }
    list
}
