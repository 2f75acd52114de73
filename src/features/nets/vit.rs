//! The vision transformer (Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021), as a graph: ViT-B/16, and
//! the hybrid that takes its patches from a residual network.

use super::Shapes;
use super::int8::Linears;
use super::plan::Input;
use super::resnet50;
use crate::infer::{Graph, InferError, Value};
use crate::weights::Tensors;

/// Numbers a token.
pub const WIDTH: usize = 768;
const DEPTH: usize = 12;
const HEADS: usize = 12;
const HIDDEN: usize = 3072;
/// Side of a patch, pixels; so many make a place of the residual network's last map, too.
pub const PATCH: usize = 16;
/// Added to the variance of layer normalisation.
const EPSILON: f32 = 1e-6;

/// Whose names the file has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Names {
    Torchvision,
    Timm,
}

impl Names {
    /// As the file has it, `which` as timm names it: `cls_token`, `pos_embed`, `patch_embed.proj` or `norm`.
    fn outer(self, which: &'static str) -> &'static str {
        match (self, which) {
            (Self::Torchvision, "cls_token") => "class_token",
            (Self::Torchvision, "pos_embed") => "encoder.pos_embedding",
            (Self::Torchvision, "patch_embed.proj") => "conv_proj",
            (Self::Torchvision, "norm") => "encoder.ln",
            (_, name) => name,
        }
    }

    /// Weight or bias (`of`) of a part of block `number`.
    fn inner(self, number: usize, part: Part, of: &str) -> String {
        let name = match (self, part) {
            (Self::Torchvision, Part::Norm1) => "ln_1.",
            (Self::Torchvision, Part::Qkv) => "self_attention.in_proj_",
            (Self::Torchvision, Part::Project) => "self_attention.out_proj.",
            (Self::Torchvision, Part::Norm2) => "ln_2.",
            (Self::Torchvision, Part::Widen) => "mlp.0.",
            (Self::Torchvision, Part::Narrow) => "mlp.3.",
            (Self::Timm, Part::Norm1) => "norm1.",
            (Self::Timm, Part::Qkv) => "attn.qkv.",
            (Self::Timm, Part::Project) => "attn.proj.",
            (Self::Timm, Part::Norm2) => "norm2.",
            (Self::Timm, Part::Widen) => "mlp.fc1.",
            (Self::Timm, Part::Narrow) => "mlp.fc2.",
        };
        match self {
            Self::Torchvision => format!("encoder.layers.encoder_layer_{number}.{name}{of}"),
            Self::Timm => format!("blocks.{number}.{name}{of}"),
        }
    }
}

/// Parts of a block that have weights.
#[derive(Debug, Clone, Copy)]
enum Part {
    Norm1,
    Qkv,
    Project,
    Norm2,
    Widen,
    Narrow,
}

impl Part {
    const ALL: [Self; 6] = [Self::Norm1, Self::Qkv, Self::Project, Self::Norm2, Self::Widen, Self::Narrow];

    fn dims(self) -> Vec<usize> {
        match self {
            Self::Norm1 | Self::Norm2 => vec![WIDTH],
            Self::Qkv => vec![3 * WIDTH, WIDTH],
            Self::Project => vec![WIDTH, WIDTH],
            Self::Widen => vec![HIDDEN, WIDTH],
            Self::Narrow => vec![WIDTH, HIDDEN],
        }
    }
}

/// One transformer: its names, its patches, its size.
pub struct Vit {
    pub names: Names,
    /// Blocks a stage of the residual network before it; none, and patches come from the pixels.
    pub hybrid: Option<[usize; 3]>,
    /// Patches in a row, and rows.
    pub grid: usize,
    pub depth: usize,
}

impl Vit {
    /// ViT-B/16, or the hybrid; the picture's size is what the file's position embedding says.
    ///
    /// # Errors
    /// Where that embedding is of no square.
    pub fn of(file: &str, tensors: &Tensors, names: Names, hybrid: bool) -> Result<Self, InferError> {
        let position = names.outer("pos_embed");
        let rows = tensors.iter().find(|(name, _)| *name == position).map(|(_, tensor)| tensor.dims.clone());
        let grid = match rows.as_deref() {
            // The check of all tensors names it.
            None => 14,
            Some([1, rows, _]) if *rows > 1 && (*rows - 1).isqrt().pow(2) == *rows - 1 => (*rows - 1).isqrt(),
            Some(dims) => {
                let problem = format!("`{position}` is {dims:?}, and is no class and a square of patches");
                return Err(InferError::new(file, problem, "name a checkpoint of ViT-B/16"));
            }
        };
        Ok(Self { names, hybrid: hybrid.then_some(resnet50::DEPTHS), grid, depth: DEPTH })
    }

    /// Side of the picture, pixels.
    pub fn side(&self) -> usize {
        self.grid * PATCH
    }

    /// Names and dimensions of every tensor, without the classifier.
    pub fn tensors(&self) -> Shapes {
        let outer = |which| self.names.outer(which).to_string();
        let kernel = if self.hybrid.is_some() {
            vec![WIDTH, resnet50::DIMS, 1, 1]
        } else {
            vec![WIDTH, 3, PATCH, PATCH]
        };
        let mut found = vec![
            (outer("cls_token"), vec![1, 1, WIDTH]),
            (outer("pos_embed"), vec![1, 1 + self.grid * self.grid, WIDTH]),
            (format!("{}.weight", outer("patch_embed.proj")), kernel),
            (format!("{}.bias", outer("patch_embed.proj")), vec![WIDTH]),
        ];
        found.extend(self.hybrid.map(resnet50::tensors).unwrap_or_default());
        for number in 0..self.depth {
            for part in Part::ALL {
                let dims = part.dims();
                found.push((self.names.inner(number, part, "bias"), vec![dims[0]]));
                found.push((self.names.inner(number, part, "weight"), dims));
            }
        }
        for of in ["weight", "bias"] {
            found.push((format!("{}.{of}", outer("norm")), vec![WIDTH]));
        }
        found
    }

    /// The normalised tokens, `[pictures * (1 + patches), 768]`, the class first, of `input` `[pictures, side, side, 3]`.
    pub fn tokens(&self, g: &mut Graph, tensors: &Tensors, input: &Input, linears: &mut Linears) -> Value {
        let of =
            |which: &'static str, end: &str| tensors.floats(&format!("{}{end}", self.names.outer(which)));
        let pixels = g.op("Transpose", &[&input.pixels], &[("perm", [0usize, 3, 1, 2].into())]);
        let (map, inputs, patch) = match self.hybrid {
            Some(depths) => (resnet50::last_map(g, tensors, depths, &pixels, input.side), resnet50::DIMS, 1),
            None => (pixels, 3, PATCH),
        };
        let kernel = g.constant(&[WIDTH, inputs, patch, patch], &of("patch_embed.proj", ".weight"));
        let bias = g.constant(&[WIDTH], &of("patch_embed.proj", ".bias"));
        let strides = [("kernel_shape", [patch; 2].into()), ("strides", [patch; 2].into())];
        let patches = g.op("Conv", &[&map, &kernel, &bias], &strides);
        let count = self.grid * self.grid;
        let patches = g.reshape(&patches, &[-1, WIDTH as i64, count as i64]);
        let patches = g.op("Transpose", &[&patches], &[("perm", [0usize, 2, 1].into())]);
        // Room for the class, which is added with its position.
        let room = g.ints(&[0, 1, 0, 0, 0, 0]);
        let tokens = g.op("Pad", &[&patches, &room], &[]);
        let mut position = of("pos_embed", "");
        position.iter_mut().zip(of("cls_token", "")).for_each(|(at, class)| *at += class);
        let position = g.constant(&[1, 1 + count, WIDTH], &position);
        let tokens = g.op("Add", &[&tokens, &position], &[]);
        let mut x = g.reshape(&tokens, &[-1, WIDTH as i64]);
        for number in 0..self.depth {
            x = self.block(g, tensors, linears, number, &x);
        }
        norm(g, &x, &of("norm", ".weight"), &of("norm", ".bias"))
    }

    fn block(
        &self,
        g: &mut Graph,
        tensors: &Tensors,
        linears: &mut Linears,
        number: usize,
        x: &Value,
    ) -> Value {
        let of = |part, of: &str| tensors.floats(&self.names.inner(number, part, of));
        let normal = norm(g, x, &of(Part::Norm1, "weight"), &of(Part::Norm1, "bias"));
        let (mut weight, mut bias) = (of(Part::Qkv, "weight"), of(Part::Qkv, "bias"));
        // Queries are divided by the root of a head's width, 8: exact in floats.
        let scale = ((WIDTH / HEADS) as f32).sqrt().recip();
        weight[..WIDTH * WIDTH].iter_mut().chain(&mut bias[..WIDTH]).for_each(|w| *w *= scale);
        let qkv = linears.write(g, &normal, &weight, &bias);
        let tokens = (1 + self.grid * self.grid) as i64;
        let (heads, width) = (HEADS as i64, (WIDTH / HEADS) as i64);
        let qkv = g.reshape(&qkv, &[-1, tokens, 3, heads, width]);
        let qkv = g.op("Transpose", &[&qkv], &[("perm", [2usize, 0, 3, 1, 4].into())]);
        let parts = g.ops("Split", &[&qkv], 3, &[("axis", 0.into())]);
        let [q, k, v] = parts.as_slice() else { unreachable!("three outputs were asked for") };
        let turned = g.op("Transpose", &[k], &[("perm", [0usize, 1, 2, 4, 3].into())]);
        let alike = g.op("MatMul", &[q, &turned], &[]);
        let shares = g.op("Softmax", &[&alike], &[("axis", (-1i64).into())]);
        let seen = g.op("MatMul", &[&shares, v], &[]);
        let seen = g.op("Transpose", &[&seen], &[("perm", [0usize, 1, 3, 2, 4].into())]);
        let seen = g.reshape(&seen, &[-1, WIDTH as i64]);
        let seen = linears.write(g, &seen, &of(Part::Project, "weight"), &of(Part::Project, "bias"));
        let x = g.op("Add", &[x, &seen], &[]);
        let normal = norm(g, &x, &of(Part::Norm2, "weight"), &of(Part::Norm2, "bias"));
        let wide = linears.write(g, &normal, &of(Part::Widen, "weight"), &of(Part::Widen, "bias"));
        let wide = gelu(g, &wide);
        let narrow = linears.write(g, &wide, &of(Part::Narrow, "weight"), &of(Part::Narrow, "bias"));
        g.op("Add", &[&x, &narrow], &[])
    }
}

/// Layer normalisation of the rows.
fn norm(g: &mut Graph, x: &Value, gain: &[f32], shift: &[f32]) -> Value {
    let (gain, shift) = (g.constant(&[WIDTH], gain), g.constant(&[WIDTH], shift));
    g.op("LayerNormalization", &[x, &gain, &shift], &[("epsilon", EPSILON.into())])
}

/// The exact Gaussian error linear unit: x (1 + erf(x / sqrt 2)) / 2.
fn gelu(g: &mut Graph, x: &Value) -> Value {
    let (root, one, half) = (g.scalar(std::f32::consts::SQRT_2), g.scalar(1.0), g.scalar(0.5));
    let scaled = g.op("Div", &[x, &root], &[]);
    let error = g.op("Erf", &[&scaled], &[]);
    let share = g.op("Add", &[&error, &one], &[]);
    let twice = g.op("Mul", &[x, &share], &[]);
    g.op("Mul", &[&twice, &half], &[])
}
