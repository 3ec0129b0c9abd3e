//! From a plan's expressions to launches with numbers and addresses.

use std::collections::BTreeMap;

use kernsmith_core::launch::{KernelLaunch, MapElement, TensorMap};
use kernsmith_core::{Bindings, Expr, FailureClass, Plan};
use kernsmith_op_contract::Contract;
use kernsmith_tensor::DType;
use kernsmith_wire::gpu::{GpuCall, GpuDevice, GpuLaunch, Kernel, MapSpec, Parameter};

use crate::error::Stop;
use crate::layout::Shape;

/// Sizes of a tensor map and of everything else that is passed, in bytes.
const MAP_BYTES: u32 = 128;
const WORD_BYTES: u32 = 8;
/// CUDA C++ Programming Guide, technical specifications: blocks in x, and in y and z; threads in z.
const GRID_X_MAX: i64 = (1 << 31) - 1;
const GRID_YZ_MAX: i64 = 65_535;
const BLOCK_Z_MAX: i64 = 64;

/// Where everything is that a plan can name.
#[derive(Debug, Clone, Default)]
pub(crate) struct Addresses {
    /// Tensors and workspaces by name.
    pub(crate) by_name: BTreeMap<String, u64>,
}

/// One argument, as the plan's word for it is understood.
enum Argument<'a> {
    Pointer(&'a str),
    Scalar(DType, f64),
    Map(&'a TensorMap),
    Number(Expr),
}

/// A plan together with what its words mean.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resolver<'a> {
    pub(crate) contract: &'a Contract,
    pub(crate) plan: &'a Plan,
    pub(crate) device: &'a GpuDevice,
}

impl<'a> Resolver<'a> {
    /// The kernels that the plan launches over all these shapes, with what each is given.
    pub(crate) fn kernels(&self, shapes: &[Shape]) -> Result<Vec<Kernel>, Stop> {
        let mut kernels: Vec<Kernel> = Vec::new();
        for launch in self.plan.launches.iter().flat_map(|launch| &launch.kernels) {
            let parameter_bytes: Vec<u32> =
                self.arguments(launch)?.iter().map(|argument| size_of(argument)).collect();
            match kernels.iter_mut().find(|kernel| kernel.symbol == launch.symbol) {
                Some(known) if known.parameter_bytes != parameter_bytes => {
                    let detail =
                        format!("`{}` is launched with two different lists of arguments", launch.symbol);
                    return Err(invalid(detail));
                }
                Some(known) => known.cluster |= !launch.cluster.is_empty(),
                None => kernels.push(Kernel {
                    symbol: launch.symbol.clone(),
                    parameter_bytes,
                    shared_bytes: 0,
                    cluster: !launch.cluster.is_empty(),
                }),
            }
        }
        for shape in shapes {
            for launch in self.launches(shape)? {
                let shared_bytes = self.shared_bytes(launch, &self.numbers(shape))?;
                if let Some(kernel) = kernels.iter_mut().find(|kernel| kernel.symbol == launch.symbol) {
                    kernel.shared_bytes = kernel.shared_bytes.max(shared_bytes);
                }
            }
        }
        Ok(kernels)
    }

    /// Sizes of the workspaces at a shape, in bytes.
    pub(crate) fn workspaces(&self, shape: &Shape) -> Result<Vec<u64>, Stop> {
        let numbers = self.numbers(shape);
        let sizes = self.plan.workspaces.iter().map(|workspace| {
            let bytes = value(&workspace.bytes, &numbers, "workspace.bytes")?;
            u64::try_from(bytes)
                .map_err(|_| invalid(format!("workspace `{}` has {bytes} bytes", workspace.name)))
        });
        sizes.collect()
    }

    /// One call at a shape: empty where there is nothing to launch.
    pub(crate) fn call(
        &self,
        shape: &Shape,
        addresses: &Addresses,
        kernels: &[Kernel],
    ) -> Result<GpuCall, Stop> {
        let mut launches = Vec::new();
        for launch in self.launches(shape)? {
            launches.extend(self.launch(launch, shape, addresses, kernels)?);
        }
        Ok(GpuCall { launches })
    }

    fn launches(&self, shape: &Shape) -> Result<&'a [KernelLaunch], Stop> {
        let found = self.plan.launch_for(&shape.axes).map_err(|error| invalid(error.to_string()))?;
        let found = found.ok_or_else(|| invalid(format!("no launch covers {:?}", shape.axes)))?;
        Ok(&found.kernels)
    }

    fn numbers(&self, shape: &Shape) -> Bindings {
        let mut numbers = shape.axes.clone();
        numbers.insert("sm_count".to_owned(), i64::from(self.device.sm_count));
        numbers
    }

    /// One launch with numbers; `None` where its grid is empty, because the shape is.
    fn launch(
        &self,
        launch: &KernelLaunch,
        shape: &Shape,
        addresses: &Addresses,
        kernels: &[Kernel],
    ) -> Result<Option<GpuLaunch>, Stop> {
        let numbers = self.numbers(shape);
        let grid =
            extents(&launch.grid, &numbers, [GRID_X_MAX, GRID_YZ_MAX, GRID_YZ_MAX], &launch.symbol, "grid")?;
        let threads = kernsmith_core::launch::block_threads_max();
        let most = [threads as i64, threads as i64, BLOCK_Z_MAX];
        let block = extents(&launch.block, &numbers, most, &launch.symbol, "block")?;
        if grid.contains(&0) {
            return Ok(None);
        }
        let product = block.iter().map(|part| u64::from(*part)).product::<u64>();
        if product == 0 || product > threads {
            return Err(invalid(format!(
                "`{}`: a block of {product} threads; 1 to {threads} are legal",
                launch.symbol
            )));
        }
        let cluster = Self::cluster(launch, grid)?;
        let kernel = kernels.iter().position(|kernel| kernel.symbol == launch.symbol).unwrap_or(0) as u16;
        let parameters = self.arguments(launch)?;
        let parameters: Result<Vec<Parameter>, Stop> =
            parameters.iter().map(|argument| self.parameter(argument, &numbers, addresses)).collect();
        Ok(Some(GpuLaunch {
            kernel,
            grid,
            block,
            cluster,
            shared_bytes: self.shared_bytes(launch, &numbers)?,
            cooperative: launch.cooperative,
            programmatic: launch.programmatic,
            parameters: parameters?,
        }))
    }

    fn cluster(launch: &KernelLaunch, grid: [u32; 3]) -> Result<Option<[u32; 3]>, Stop> {
        if launch.cluster.is_empty() {
            return Ok(None);
        }
        let mut cluster = [1; 3];
        for (part, given) in cluster.iter_mut().zip(&launch.cluster) {
            *part = *given;
        }
        if grid.iter().zip(cluster).any(|(blocks, of_cluster)| blocks % of_cluster != 0) {
            return Err(invalid(format!(
                "`{}`: a grid of {grid:?} is no whole number of clusters of {cluster:?}",
                launch.symbol
            )));
        }
        Ok(Some(cluster))
    }

    fn shared_bytes(&self, launch: &KernelLaunch, numbers: &Bindings) -> Result<u32, Stop> {
        let Some(expr) = &launch.shared_bytes else { return Ok(0) };
        let bytes = value(expr, numbers, "shared_bytes")?;
        let limit = self.device.shared_optin_bytes;
        u32::try_from(bytes).ok().filter(|bytes| *bytes <= limit).ok_or_else(|| {
            invalid(format!(
                "`{}` asks for {bytes} bytes of shared memory; this device has {limit}",
                launch.symbol
            ))
        })
    }

    /// What a launch passes, in order.
    fn arguments(&self, launch: &'a KernelLaunch) -> Result<Vec<Argument<'a>>, Stop> {
        let Some(list) = &launch.arguments else { return self.default_arguments() };
        list.iter().map(|word| self.argument(word)).collect()
    }

    fn default_arguments(&self) -> Result<Vec<Argument<'a>>, Stop> {
        let contract = self.contract;
        let tensors = contract.inputs.iter().chain(&contract.outputs);
        let mut arguments: Vec<Argument<'a>> =
            tensors.map(|tensor| Argument::Pointer(&tensor.name)).collect();
        for axis in contract.variable_axes() {
            arguments.push(self.argument(axis)?);
        }
        arguments.extend(contract.scalars.iter().map(|scalar| Argument::Scalar(scalar.dtype, scalar.value)));
        arguments.extend(self.plan.workspaces.iter().map(|workspace| Argument::Pointer(&workspace.name)));
        Ok(arguments)
    }

    fn argument(&self, word: &'a str) -> Result<Argument<'a>, Stop> {
        let contract = self.contract;
        let mut names = contract.inputs.iter().chain(&contract.outputs).map(|tensor| &tensor.name);
        if names.any(|name| name == word) || self.plan.workspaces.iter().any(|known| known.name == word) {
            return Ok(Argument::Pointer(word));
        }
        if let Some(scalar) = contract.scalars.iter().find(|scalar| scalar.name == word) {
            return Ok(Argument::Scalar(scalar.dtype, scalar.value));
        }
        if let Some(map) = self.plan.tensor_maps.iter().find(|map| map.name == word) {
            return Ok(Argument::Map(map));
        }
        Expr::parse(word).map(Argument::Number).map_err(|error| invalid(error.to_string()))
    }

    fn parameter(
        &self,
        argument: &Argument<'_>,
        numbers: &Bindings,
        addresses: &Addresses,
    ) -> Result<Parameter, Stop> {
        Ok(match argument {
            Argument::Pointer(name) => Parameter::Word(address(addresses, name)?, WORD_BYTES as u8),
            Argument::Number(expr) => {
                Parameter::Word(value(expr, numbers, "arguments")? as u64, WORD_BYTES as u8)
            }
            Argument::Scalar(dtype, number) => {
                let mut bytes = [0_u8; 8];
                let length = dtype.bytes_for(1) as usize;
                dtype.encode(&[*number], &mut bytes[..length]);
                Parameter::Word(u64::from_le_bytes(bytes), length as u8)
            }
            Argument::Map(map) => Parameter::Map(self.map(map, numbers, addresses)?),
        })
    }

    fn map(&self, map: &TensorMap, numbers: &Bindings, addresses: &Addresses) -> Result<MapSpec, Stop> {
        let all = |list: &[Expr], field: &str| -> Result<Vec<u64>, Stop> {
            let parts = list.iter().map(|expr| {
                let part = value(expr, numbers, field)?;
                u64::try_from(part)
                    .map_err(|_| invalid(format!("tensor map `{}`: {field} is {part}", map.name)))
            });
            parts.collect()
        };
        let tensors = self.contract.inputs.iter().chain(&self.contract.outputs);
        let own =
            tensors.clone().find(|tensor| tensor.name == map.tensor).and_then(|tensor| element(tensor.dtype));
        let element = map.element.or(own);
        let no_element =
            || invalid(format!("tensor map `{}`: its element type has no map; name one", map.name));
        Ok(MapSpec {
            address: address(addresses, &map.tensor)?,
            element: element.ok_or_else(no_element)?,
            dims: all(&map.dims, "dims")?,
            strides_bytes: all(&map.strides_bytes, "strides_bytes")?,
            box_elements: map.box_elements.clone(),
            swizzle: map.swizzle,
            l2_promotion: map.l2_promotion,
        })
    }
}

fn size_of(argument: &Argument<'_>) -> u32 {
    match argument {
        Argument::Pointer(_) | Argument::Number(_) => WORD_BYTES,
        Argument::Scalar(dtype, _) => dtype.bytes_for(1) as u32,
        Argument::Map(_) => MAP_BYTES,
    }
}

const fn element(dtype: DType) -> Option<MapElement> {
    match dtype {
        DType::F16 => Some(MapElement::F16),
        DType::Bf16 => Some(MapElement::Bf16),
        DType::F32 => Some(MapElement::F32),
        DType::I32 => Some(MapElement::I32),
        DType::U8 | DType::I8 => Some(MapElement::U8),
        _ => None,
    }
}

fn address(addresses: &Addresses, name: &str) -> Result<u64, Stop> {
    let found = addresses.by_name.get(name).copied();
    found.ok_or_else(|| invalid(format!("`{name}` has no address")))
}

fn extents(
    list: &[Expr],
    numbers: &Bindings,
    most: [i64; 3],
    symbol: &str,
    field: &str,
) -> Result<[u32; 3], Stop> {
    let mut extents = [1; 3];
    for ((extent, expr), most) in extents.iter_mut().zip(list).zip(most) {
        let given = value(expr, numbers, field)?;
        if !(0..=most).contains(&given) {
            return Err(invalid(format!("`{symbol}`: {field} of {given} is outside 0 to {most}")));
        }
        *extent = given as u32;
    }
    Ok(extents)
}

fn value(expr: &Expr, numbers: &Bindings, field: &str) -> Result<i64, Stop> {
    expr.eval(numbers).map_err(|error| invalid(format!("{field}: {error}")))
}

fn invalid(detail: String) -> Stop {
    Stop::rejected(FailureClass::PlanInvalid, detail)
}
