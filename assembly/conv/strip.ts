export function fillStrip(x: usize, inH: i32, inW: i32, row0: i32, rows: i32, padLeft: i32, strideW: i32, phasePitch: i32, rowPitch: i32, fill: f32, to: usize): void {
  for (let r = 0; r < rows; r++) {
    const y = row0 + r;
    for (let ph = 0; ph < strideW; ph++) for (let i = 0; i < phasePitch; i++) {
      const col = i * strideW + ph - padLeft;
      const ok = y >= 0 && y < inH && col >= 0 && col < inW;
      store<f32>(to + ((r * rowPitch + ph * phasePitch + i) << 2), ok ? load<f32>(x + ((y * inW + col) << 2)) : fill);
    }
  }
}
