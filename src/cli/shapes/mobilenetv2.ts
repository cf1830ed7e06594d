/**
 * MobileNetV2 1.0, one 224 x 224 image: the first convolution (im2col) and the pointwise ones; the depthwise
 * ones are no matrix products. m = output pixels, k = input channels, n = output channels; each product once.
 */
import type { MatmulShape, ShapeList } from './types.ts';

function pointwise(name: string, pixels: number, from: number, to: number): MatmulShape {
  return { name, m: pixels, k: from, n: to, prepacked: true, source: 'MobileNetV2' };
}

export const MOBILENETV2: ShapeList = {
  name: 'mobilenetv2',
  about: 'the pointwise convolutions of MobileNetV2 as matrix products, batch 1',
  shapes: [
    { name: 'conv1 3x3 3-32', m: 12544, k: 27, n: 32, prepacked: true, source: 'MobileNetV2' },
    pointwise('block1 project 32-16', 12544, 32, 16),
    pointwise('block2 expand 16-96', 12544, 16, 96),
    pointwise('block2 project 96-24', 3136, 96, 24),
    pointwise('block3 expand 24-144', 3136, 24, 144),
    pointwise('block3 project 144-24', 3136, 144, 24),
    pointwise('block4 project 144-32', 784, 144, 32),
    pointwise('block5 expand 32-192', 784, 32, 192),
    pointwise('block5 project 192-32', 784, 192, 32),
    pointwise('block7 project 192-64', 196, 192, 64),
    pointwise('block8 expand 64-384', 196, 64, 384),
    pointwise('block8 project 384-64', 196, 384, 64),
    pointwise('block11 project 384-96', 196, 384, 96),
    pointwise('block12 expand 96-576', 196, 96, 576),
    pointwise('block12 project 576-96', 196, 576, 96),
    pointwise('block14 project 576-160', 49, 576, 160),
    pointwise('block15 expand 160-960', 49, 160, 960),
    pointwise('block15 project 960-160', 49, 960, 160),
    pointwise('block17 project 960-320', 49, 960, 320),
    pointwise('head 320-1280', 49, 320, 1280),
    pointwise('fc 1280-1000', 1, 1280, 1000),
  ],
};
