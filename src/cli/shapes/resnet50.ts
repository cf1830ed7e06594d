/**
 * ResNet-50 v1.5 (stride in the 3x3), one 224 x 224 image: each convolution as the matrix product that it is
 * after im2col in NHWC order: m = output pixels, k = input channels x window, n = output channels.
 * Each different product once.
 */
import type { MatmulShape, ShapeList } from './types.ts';

function conv(name: string, pixels: number, window: number, from: number, to: number): MatmulShape {
  return { name, m: pixels, k: window * from, n: to, prepacked: true, source: 'ResNet-50' };
}

export const RESNET50: ShapeList = {
  name: 'resnet50',
  about: 'the convolutions of ResNet-50 as matrix products, batch 1',
  shapes: [
    conv('conv1 7x7 3-64', 12544, 49, 3, 64),
    conv('stage1 1x1 64-64', 3136, 1, 64, 64),
    conv('stage1 3x3 64-64', 3136, 9, 64, 64),
    conv('stage1 1x1 64-256', 3136, 1, 64, 256),
    conv('stage1 1x1 256-64', 3136, 1, 256, 64),
    conv('stage2 1x1 256-128', 3136, 1, 256, 128),
    conv('stage2 3x3 128-128', 784, 9, 128, 128),
    conv('stage2 1x1 128-512', 784, 1, 128, 512),
    conv('stage2 1x1 256-512', 784, 1, 256, 512),
    conv('stage2 1x1 512-128', 784, 1, 512, 128),
    conv('stage3 1x1 512-256', 784, 1, 512, 256),
    conv('stage3 3x3 256-256', 196, 9, 256, 256),
    conv('stage3 1x1 256-1024', 196, 1, 256, 1024),
    conv('stage3 1x1 512-1024', 196, 1, 512, 1024),
    conv('stage3 1x1 1024-256', 196, 1, 1024, 256),
    conv('stage4 1x1 1024-512', 196, 1, 1024, 512),
    conv('stage4 3x3 512-512', 49, 9, 512, 512),
    conv('stage4 1x1 512-2048', 49, 1, 512, 2048),
    conv('stage4 1x1 1024-2048', 49, 1, 1024, 2048),
    conv('stage4 1x1 2048-512', 49, 1, 2048, 512),
    conv('fc 2048-1000', 1, 1, 2048, 1000),
  ],
};
