/**
 * The convolutions of known networks, batch 1, each different layer once: what inference meets, with the normalisation
 * folded into weights and bias as every exporter does. Residual additions are left out, since peers do them in another
 * operator. A layer is its name and its text (conv-text.ts).
 */
import { parseConv, printConv } from './conv-text.ts';
import type { ConvShape, ShapeList } from './types.ts';

type Layers = readonly (readonly [name: string, text: string])[];

function network(name: string, source: string, about: string, layers: Layers): ShapeList {
  const shapes = layers.map(([layer, text]) => ({ ...parseConv(`conv ${text}`), name: layer, source }));
  return { name: `conv-${name}`, about, shapes };
}

/** v1.5: the stride is in the 3x3. */
const RESNET50 = network('resnet50', 'ResNet-50', 'ResNet-50 v1.5 at 224 x 224', [
  ['conv1', '1x3x224x224 64 7x7 s2 p3 bias relu'],
  ['stage1 reduce first', '1x64x56x56 64 1x1 bias relu'],
  ['stage1 3x3', '1x64x56x56 64 3x3 p1 bias relu'],
  ['stage1 expand', '1x64x56x56 256 1x1 bias'],
  ['stage1 reduce', '1x256x56x56 64 1x1 bias relu'],
  ['stage2 reduce first', '1x256x56x56 128 1x1 bias relu'],
  ['stage2 3x3 stride', '1x128x56x56 128 3x3 s2 p1 bias relu'],
  ['stage2 shortcut', '1x256x56x56 512 1x1 s2 bias'],
  ['stage2 expand', '1x128x28x28 512 1x1 bias'],
  ['stage2 reduce', '1x512x28x28 128 1x1 bias relu'],
  ['stage2 3x3', '1x128x28x28 128 3x3 p1 bias relu'],
  ['stage3 reduce first', '1x512x28x28 256 1x1 bias relu'],
  ['stage3 3x3 stride', '1x256x28x28 256 3x3 s2 p1 bias relu'],
  ['stage3 shortcut', '1x512x28x28 1024 1x1 s2 bias'],
  ['stage3 expand', '1x256x14x14 1024 1x1 bias'],
  ['stage3 reduce', '1x1024x14x14 256 1x1 bias relu'],
  ['stage3 3x3', '1x256x14x14 256 3x3 p1 bias relu'],
  ['stage4 reduce first', '1x1024x14x14 512 1x1 bias relu'],
  ['stage4 3x3 stride', '1x512x14x14 512 3x3 s2 p1 bias relu'],
  ['stage4 shortcut', '1x1024x14x14 2048 1x1 s2 bias'],
  ['stage4 expand', '1x512x7x7 2048 1x1 bias'],
  ['stage4 reduce', '1x2048x7x7 512 1x1 bias relu'],
  ['stage4 3x3', '1x512x7x7 512 3x3 p1 bias relu'],
]);

const MOBILENETV2 = network('mobilenetv2', 'MobileNetV2', 'MobileNetV2 1.0 at 224 x 224', [
  ['conv1', '1x3x224x224 32 3x3 s2 p1 bias clip=0:6'],
  ['block1 depthwise', '1x32x112x112 32 3x3 p1 g32 bias clip=0:6'],
  ['block1 project', '1x32x112x112 16 1x1 bias'],
  ['block2 expand', '1x16x112x112 96 1x1 bias clip=0:6'],
  ['block2 depthwise', '1x96x112x112 96 3x3 s2 p1 g96 bias clip=0:6'],
  ['block2 project', '1x96x56x56 24 1x1 bias'],
  ['block3 expand', '1x24x56x56 144 1x1 bias clip=0:6'],
  ['block3 depthwise', '1x144x56x56 144 3x3 p1 g144 bias clip=0:6'],
  ['block3 project', '1x144x56x56 24 1x1 bias'],
  ['block4 depthwise', '1x144x56x56 144 3x3 s2 p1 g144 bias clip=0:6'],
  ['block4 project', '1x144x28x28 32 1x1 bias'],
  ['block5 expand', '1x32x28x28 192 1x1 bias clip=0:6'],
  ['block5 depthwise', '1x192x28x28 192 3x3 p1 g192 bias clip=0:6'],
  ['block5 project', '1x192x28x28 32 1x1 bias'],
  ['block7 depthwise', '1x192x28x28 192 3x3 s2 p1 g192 bias clip=0:6'],
  ['block7 project', '1x192x14x14 64 1x1 bias'],
  ['block8 expand', '1x64x14x14 384 1x1 bias clip=0:6'],
  ['block8 depthwise', '1x384x14x14 384 3x3 p1 g384 bias clip=0:6'],
  ['block8 project', '1x384x14x14 64 1x1 bias'],
  ['block11 project', '1x384x14x14 96 1x1 bias'],
  ['block12 expand', '1x96x14x14 576 1x1 bias clip=0:6'],
  ['block12 depthwise', '1x576x14x14 576 3x3 p1 g576 bias clip=0:6'],
  ['block12 project', '1x576x14x14 96 1x1 bias'],
  ['block14 depthwise', '1x576x14x14 576 3x3 s2 p1 g576 bias clip=0:6'],
  ['block14 project', '1x576x7x7 160 1x1 bias'],
  ['block15 expand', '1x160x7x7 960 1x1 bias clip=0:6'],
  ['block15 depthwise', '1x960x7x7 960 3x3 p1 g960 bias clip=0:6'],
  ['block15 project', '1x960x7x7 160 1x1 bias'],
  ['block17 project', '1x960x7x7 320 1x1 bias'],
  ['head', '1x320x7x7 1280 1x1 bias clip=0:6'],
]);

/** Table 1 of Howard et al., "Searching for MobileNetV3" (2019); squeeze-and-excite layers are 1x1 on one pixel, left out. */
const MOBILENETV3 = network('mobilenetv3', 'MobileNetV3-Large', 'MobileNetV3-Large at 224 x 224', [
  ['conv1', '1x3x224x224 16 3x3 s2 p1 bias hardSwish'],
  ['block1 depthwise', '1x16x112x112 16 3x3 p1 g16 bias relu'],
  ['block1 project', '1x16x112x112 16 1x1 bias'],
  ['block2 expand', '1x16x112x112 64 1x1 bias relu'],
  ['block2 depthwise', '1x64x112x112 64 3x3 s2 p1 g64 bias relu'],
  ['block2 project', '1x64x56x56 24 1x1 bias'],
  ['block3 expand', '1x24x56x56 72 1x1 bias relu'],
  ['block3 depthwise', '1x72x56x56 72 3x3 p1 g72 bias relu'],
  ['block3 project', '1x72x56x56 24 1x1 bias'],
  ['block4 depthwise', '1x72x56x56 72 5x5 s2 p2 g72 bias relu'],
  ['block4 project', '1x72x28x28 40 1x1 bias'],
  ['block5 expand', '1x40x28x28 120 1x1 bias relu'],
  ['block5 depthwise', '1x120x28x28 120 5x5 p2 g120 bias relu'],
  ['block5 project', '1x120x28x28 40 1x1 bias'],
  ['block7 expand', '1x40x28x28 240 1x1 bias hardSwish'],
  ['block7 depthwise', '1x240x28x28 240 3x3 s2 p1 g240 bias hardSwish'],
  ['block7 project', '1x240x14x14 80 1x1 bias'],
  ['block8 expand', '1x80x14x14 200 1x1 bias hardSwish'],
  ['block8 depthwise', '1x200x14x14 200 3x3 p1 g200 bias hardSwish'],
  ['block8 project', '1x200x14x14 80 1x1 bias'],
  ['block9 expand', '1x80x14x14 184 1x1 bias hardSwish'],
  ['block11 expand', '1x80x14x14 480 1x1 bias hardSwish'],
  ['block11 depthwise', '1x480x14x14 480 3x3 p1 g480 bias hardSwish'],
  ['block11 project', '1x480x14x14 112 1x1 bias'],
  ['block12 expand', '1x112x14x14 672 1x1 bias hardSwish'],
  ['block12 depthwise', '1x672x14x14 672 3x3 p1 g672 bias hardSwish'],
  ['block12 project', '1x672x14x14 112 1x1 bias'],
  ['block13 depthwise', '1x672x14x14 672 5x5 s2 p2 g672 bias hardSwish'],
  ['block13 project', '1x672x7x7 160 1x1 bias'],
  ['block14 expand', '1x160x7x7 960 1x1 bias hardSwish'],
  ['block14 depthwise', '1x960x7x7 960 5x5 p2 g960 bias hardSwish'],
  ['block14 project', '1x960x7x7 160 1x1 bias'],
]);

/** The backbone's strided layers and the bottlenecks between them, the heads, and the widths of the next larger model. */
const YOLO = network('yolo', 'YOLOv8-n/s', 'the 3x3 stacks of YOLOv8-n and -s at 640 x 640', [
  ['stem', '1x3x640x640 16 3x3 s2 p1 bias silu'],
  ['down 16-32', '1x16x320x320 32 3x3 s2 p1 bias silu'],
  ['bottleneck 16', '1x16x160x160 16 3x3 p1 bias silu'],
  ['bottleneck 32, s', '1x32x160x160 32 3x3 p1 bias silu'],
  ['fuse 48-32', '1x48x160x160 32 1x1 bias silu'],
  ['down 32-64', '1x32x160x160 64 3x3 s2 p1 bias silu'],
  ['bottleneck 32', '1x32x80x80 32 3x3 p1 bias silu'],
  ['bottleneck 64, s', '1x64x80x80 64 3x3 p1 bias silu'],
  ['head classes', '1x80x80x80 80 3x3 p1 bias silu'],
  ['fuse 128-64', '1x128x80x80 64 1x1 bias silu'],
  ['down 64-128', '1x64x80x80 128 3x3 s2 p1 bias silu'],
  ['bottleneck 64', '1x64x40x40 64 3x3 p1 bias silu'],
  ['bottleneck 128, s', '1x128x40x40 128 3x3 p1 bias silu'],
  ['down 128-256', '1x128x40x40 256 3x3 s2 p1 bias silu'],
  ['bottleneck 128', '1x128x20x20 128 3x3 p1 bias silu'],
  ['bottleneck 256, s', '1x256x20x20 256 3x3 p1 bias silu'],
  ['fuse 384-256', '1x384x20x20 256 1x1 bias silu'],
]);

/**
 * ESPCN as in the ONNX model zoo (224 x 224, three times larger), and SRVGGNetCompact (Real-ESRGAN's small models) on a
 * frame of 320 x 180, with its leaky ReLU.
 */
const SUPERRES = network('superres', 'super-resolution', 'ESPCN and Real-ESRGAN compact', [
  ['ESPCN first', '1x1x224x224 64 5x5 p2 bias relu'],
  ['ESPCN 64-64', '1x64x224x224 64 3x3 p1 bias relu'],
  ['ESPCN 64-32', '1x64x224x224 32 3x3 p1 bias relu'],
  ['ESPCN last', '1x32x224x224 9 3x3 p1 bias'],
  ['SRVGG first', '1x3x180x320 64 3x3 p1 bias leakyRelu=0.1'],
  ['SRVGG body', '1x64x180x320 64 3x3 p1 bias leakyRelu=0.1'],
  ['SRVGG last', '1x64x180x320 48 3x3 p1 bias'],
]);

/**
 * PP-LCNetV3, the backbone of PP-OCRv4 mobile: recognition (scale 0.95) on a line of 320 x 48, detection (scale 0.75) on
 * 640 x 640. Strided depthwise layers have no activation unless their strides differ.
 */
const PPOCR = network('ppocr', 'PP-OCRv4 mobile', 'recognition and detection backbones of PP-OCRv4 mobile', [
  ['rec conv1', '1x3x48x320 16 3x3 s2 p1 bias'],
  ['rec block2 depthwise', '1x16x24x160 16 3x3 p1 g16 bias hardSwish'],
  ['rec block2 pointwise', '1x16x24x160 32 1x1 bias hardSwish'],
  ['rec block3 depthwise', '1x64x24x160 64 3x3 p1 g64 bias hardSwish'],
  ['rec block3 pointwise', '1x64x24x160 64 1x1 bias hardSwish'],
  ['rec block4 depthwise stride', '1x64x24x160 64 3x3 s2.1 p1 g64 bias hardSwish'],
  ['rec block4 pointwise', '1x128x12x160 128 1x1 bias hardSwish'],
  ['rec block5 depthwise stride', '1x128x12x160 128 3x3 s1.2 p1 g128 bias hardSwish'],
  ['rec block5 depthwise', '1x240x12x80 240 5x5 p2 g240 bias hardSwish'],
  ['rec block5 pointwise', '1x240x12x80 240 1x1 bias hardSwish'],
  ['rec block6 depthwise stride', '1x240x12x80 240 5x5 s2.1 p2 g240 bias hardSwish'],
  ['rec block6 depthwise', '1x480x6x80 480 5x5 p2 g480 bias hardSwish'],
  ['rec block6 pointwise', '1x480x6x80 480 1x1 bias hardSwish'],
  ['det conv1', '1x3x640x640 16 3x3 s2 p1 bias'],
  ['det block2 depthwise', '1x16x320x320 16 3x3 p1 g16 bias hardSwish'],
  ['det block3 depthwise stride', '1x32x320x320 32 3x3 s2 p1 g32 bias'],
  ['det block3 depthwise', '1x48x160x160 48 3x3 p1 g48 bias hardSwish'],
  ['det block5 depthwise', '1x192x40x40 192 5x5 p2 g192 bias hardSwish'],
  ['det block5 pointwise', '1x192x40x40 192 1x1 bias hardSwish'],
  ['det block6 depthwise', '1x384x20x20 384 5x5 p2 g384 bias hardSwish'],
]);

/** Bazarevsky et al., "BlazeFace" (2019): 5x5 depthwise everywhere, the odd row of padding behind, as TensorFlow has it. */
const BLAZEFACE = network('blazeface', 'BlazeFace', 'BlazeFace at 128 x 128', [
  ['conv1', '1x3x128x128 24 5x5 s2 p1.1.2.2 bias relu'],
  ['single depthwise 24', '1x24x64x64 24 5x5 p2 g24 bias'],
  ['single pointwise 24', '1x24x64x64 24 1x1 bias relu'],
  ['single depthwise 24 stride', '1x24x64x64 24 5x5 s2 p1.1.2.2 g24 bias'],
  ['single pointwise 24-48', '1x24x32x32 48 1x1 bias relu'],
  ['single depthwise 48', '1x48x32x32 48 5x5 p2 g48 bias'],
  ['single pointwise 48', '1x48x32x32 48 1x1 bias relu'],
  ['double depthwise 48 stride', '1x48x32x32 48 5x5 s2 p1.1.2.2 g48 bias'],
  ['double project 48-24', '1x48x16x16 24 1x1 bias relu'],
  ['double depthwise 24', '1x24x16x16 24 5x5 p2 g24 bias'],
  ['double expand 24-96', '1x24x16x16 96 1x1 bias relu'],
  ['double depthwise 96', '1x96x16x16 96 5x5 p2 g96 bias'],
  ['double project 96-24', '1x96x16x16 24 1x1 bias relu'],
  ['double depthwise 96 stride', '1x96x16x16 96 5x5 s2 p1.1.2.2 g96 bias'],
  ['double depthwise 96 last', '1x96x8x8 96 5x5 p2 g96 bias'],
  ['double expand 24-96 last', '1x24x8x8 96 1x1 bias relu'],
]);

/** 64 MB in and 64 MB out: beyond every cache, so that GB/s compare with the machine's memory. */
const MEMORY = network('memory', 'beyond cache', 'depthwise layers on maps beyond the caches', [
  ['depthwise 3x3, 64 MB', '1x16x1024x1024 16 3x3 p1 g16 bias relu'],
  ['depthwise 5x5, 64 MB', '1x64x512x512 64 5x5 p2 g64 bias relu'],
]);

const QUICK: Layers = [
  ['first 7x7', '1x3x224x224 64 7x7 s2 p3 bias relu'],
  ['3x3 early', '1x64x56x56 64 3x3 p1 bias relu'],
  ['3x3 late', '1x256x14x14 256 3x3 p1 bias relu'],
  ['3x3 stride', '1x128x56x56 128 3x3 s2 p1 bias relu'],
  ['1x1 expand', '1x64x56x56 256 1x1 bias'],
  ['1x1 late', '1x960x7x7 160 1x1 bias'],
  ['depthwise 3x3', '1x144x56x56 144 3x3 p1 g144 bias clip=0:6'],
  ['depthwise 5x5', '1x240x12x80 240 5x5 p2 g240 bias hardSwish'],
];

const NETWORKS = [RESNET50, MOBILENETV2, MOBILENETV3, YOLO, SUPERRES, PPOCR, BLAZEFACE, MEMORY];

/** Every list; a layer that two networks share is in the first of them only, and names are unique through their source. */
const ALL: ShapeList = {
  name: 'conv',
  about: 'all of the following: convolution layers of known networks, batch 1',
  shapes: distinct(NETWORKS.flatMap(({ shapes }) => shapes as readonly ConvShape[])),
};

function distinct(layers: readonly ConvShape[]): readonly ConvShape[] {
  const first = new Map<string, ConvShape>();
  for (const layer of layers) {
    const key = printConv(layer);
    if (!first.has(key)) first.set(key, { ...layer, name: `${layer.source}, ${layer.name}` });
  }
  return [...first.values()];
}

export const CONVOLUTIONS: readonly ShapeList[] = [
  network('quick', 'typical layers', 'eight typical layers: a first look', QUICK),
  ALL,
  ...NETWORKS,
];
