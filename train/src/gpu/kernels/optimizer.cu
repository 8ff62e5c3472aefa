// A step of the optimizer besides Newton–Schulz's products: the gradients' norm, Adam, and what Muon does around its
// products. All of it is bound by memory.
//
// `scale` [1] is what gradients are multiplied by. Settings come by value.

struct Settings {
    float at[6];
};

struct __align__(16) Four {
    float at[4];
};

__device__ __forceinline__ Four load(const float* from) { return *(const Four*)from; }

__device__ __forceinline__ void store(float* to, Four x) {
    *(float4*)to = make_float4(x.at[0], x.at[1], x.at[2], x.at[3]);
}

// The sum over a block of 256 threads; `of_warps` has a place for each warp, used once.
__device__ __forceinline__ float sum_block(float x, float* of_warps) {
    x = sum_lanes<32>(x);
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = x;
    __syncthreads();
    float sum = 0.0f;
#pragma unroll
    for (int warp = 0; warp < 8; warp++) sum += of_warps[warp];
    return sum;
}

#ifdef COUNT
// Four numbers of an array of COUNT, or what is left of it; zeros after its end.
__device__ __forceinline__ Four load_up_to_end(const float* x, size_t at) {
    if (at + 4 <= COUNT) return load(x + at);
    Four some = {};
#pragma unroll
    for (int j = 0; j < 3; j++) {
        if (at + j < COUNT) some.at[j] = x[at + j];
    }
    return some;
}

__device__ __forceinline__ void store_up_to_end(float* x, size_t at, Four some) {
    if (at + 4 <= COUNT) {
        store(x + at, some);
        return;
    }
#pragma unroll
    for (int j = 0; j < 3; j++) {
        if (at + j < COUNT) x[at + j] = some.at[j];
    }
}

// The sum of the squares of x [COUNT], in parts → parts [blocks]. Threads: 256. Grid: (any number).
extern "C" __global__ void __launch_bounds__(256) squared_norm(const float* __restrict__ x, float* __restrict__ parts) {
    SHARED(float, of_warps, 8);
    float sum = 0.0f;
#pragma unroll 4
    for (size_t at = ((size_t)blockIdx.x * 256 + threadIdx.x) * 4; at < COUNT; at += (size_t)gridDim.x * 1024) {
        Four own = load_up_to_end(x, at);
#pragma unroll
        for (int j = 0; j < 4; j++) sum += own.at[j] * own.at[j];
    }
    sum = sum_block(sum, of_warps);
    if (threadIdx.x == 0) parts[blockIdx.x] = sum;
}

// One step of Adam (Kingma & Ba, arXiv 1412.6980): weights, gradient, and both moments, each [COUNT] → weights and
// moments. `settings`: learning rate, β₁, β₂, ε, 1 − β₁^step, 1 − β₂^step. Threads: 256. Grid: (⌈COUNT / 1024⌉).
extern "C" __global__ void __launch_bounds__(256) adam_step(
    const float* __restrict__ weights, const float* __restrict__ gradient, const float* __restrict__ first,
    const float* __restrict__ second, const float* __restrict__ scale, float* __restrict__ new_weights,
    float* __restrict__ new_first, float* __restrict__ new_second, Settings settings) {
    size_t at = ((size_t)blockIdx.x * 256 + threadIdx.x) * 4;
    if (at >= COUNT) return;
    Four weight = load_up_to_end(weights, at), slope = load_up_to_end(gradient, at);
    Four mean = load_up_to_end(first, at), square = load_up_to_end(second, at);
    float beta1 = settings.at[1], beta2 = settings.at[2], epsilon = settings.at[3], by = scale[0];
    float rate = settings.at[0] / settings.at[4], correction = 1.0f / settings.at[5];
#pragma unroll
    for (int j = 0; j < 4; j++) {
        float own = slope.at[j] * by;
        mean.at[j] = mean.at[j] * beta1 + own * (1.0f - beta1);
        square.at[j] = square.at[j] * beta2 + own * own * (1.0f - beta2);
        weight.at[j] -= rate * mean.at[j] / (sqrtf(square.at[j] * correction) + epsilon);
    }
    store_up_to_end(new_weights, at, weight);
    store_up_to_end(new_first, at, mean);
    store_up_to_end(new_second, at, square);
}
#endif

#ifdef BLOCKS
// Muon (Jordan et al., https://kellerjordan.github.io/posts/muon): a matrix [INPUTS, COLUMNS] holds BLOCKS matrices
// [INPUTS, OUTPUTS] side by side; all are multiples of 8. Products take them apart, [BLOCKS, SHORT, LONG], transposed
// where they are tall. `settings`: momentum, learning rate, weight decay.
//
// A block of threads has a tile of one matrix. Threads: 256. Grid: (⌈OUTPUTS / 32⌉, ⌈INPUTS / 32⌉, BLOCKS).
constexpr int OUTPUTS = COLUMNS / BLOCKS;
constexpr bool TALL = INPUTS > OUTPUTS;
constexpr int LONG = TALL ? INPUTS : OUTPUTS;
constexpr int TILE = 32;
constexpr int TILES = (OUTPUTS + TILE - 1) / TILE * ((INPUTS + TILE - 1) / TILE); // of a matrix
constexpr int ELEMENTS = INPUTS * OUTPUTS;

// momentum' = momentum · m + gradient; what the products take is ahead = momentum' · m + gradient (Nesterov). Also the
// sums of the squares of `ahead`, in parts. gradient and momentum [INPUTS, COLUMNS] → momentum', ahead [BLOCKS, SHORT,
// LONG], squares [BLOCKS, TILES].
extern "C" __global__ void __launch_bounds__(256) muon_momentum(
    const float* __restrict__ gradient, const float* __restrict__ momentum, const float* __restrict__ scale,
    float* __restrict__ new_momentum, float* __restrict__ ahead, float* __restrict__ squares, Settings settings) {
    SHARED(float, tile, TILE * (TILE + 1));
    SHARED(float, of_warps, 8);
    int line = threadIdx.x / 8, place = threadIdx.x % 8 * 4;
    int row = blockIdx.y * TILE + line, column = blockIdx.x * TILE + place;
    float sum = 0.0f;
    if (row < INPUTS && column < OUTPUTS) {
        size_t at = (size_t)row * COLUMNS + (blockIdx.z * OUTPUTS + column);
        Four slope = load(gradient + at), own = load(momentum + at), next;
        float kept = settings.at[0], by = scale[0];
#pragma unroll
        for (int j = 0; j < 4; j++) {
            slope.at[j] *= by;
            own.at[j] = own.at[j] * kept + slope.at[j];
            next.at[j] = own.at[j] * kept + slope.at[j];
            sum += next.at[j] * next.at[j];
            if (TALL) tile[line * (TILE + 1) + place + j] = next.at[j];
        }
        store(new_momentum + at, own);
        if (!TALL) store(ahead + ((size_t)(blockIdx.z * INPUTS + row) * LONG + column), next);
    }
    sum = sum_block(sum, of_warps);
    if (threadIdx.x == 0) squares[blockIdx.z * TILES + blockIdx.y * gridDim.x + blockIdx.x] = sum;
    if (TALL) {
        int input = blockIdx.y * TILE + place, output = blockIdx.x * TILE + line;
        if (input >= INPUTS || output >= OUTPUTS) return;
        Four next;
#pragma unroll
        for (int j = 0; j < 4; j++) next.at[j] = tile[(place + j) * (TILE + 1) + line];
        store(ahead + ((size_t)(blockIdx.z * OUTPUTS + output) * LONG + input), next);
    }
}

// Matrices over their norms: ahead [matrices, SHORT, LONG], squares [matrices, TILES] → out, like ahead.
// Threads: 256. Grid: (matrices, any number, ⌈SHORT · LONG / 8192⌉ for one).
extern "C" __global__ void __launch_bounds__(256) muon_normalize(
    const float* __restrict__ ahead, const float* __restrict__ squares, bf16* __restrict__ out) {
    SHARED(float, of_warps, 8);
    float sum = 0.0f;
    for (int at = threadIdx.x; at < TILES; at += 256) sum += squares[(size_t)blockIdx.x * TILES + at];
    float by = 1.0f / (sqrtf(sum_block(sum, of_warps)) + 1e-7f);
    ahead += (size_t)blockIdx.x * ELEMENTS;
    out += (size_t)blockIdx.x * ELEMENTS;
#pragma unroll 4
    for (int at = (blockIdx.y * 256 + threadIdx.x) * 8; at < ELEMENTS; at += gridDim.y * 2048) {
        Four low = load(ahead + at), high = load(ahead + at + 4);
        *(uint4*)(out + at) = make_uint4(
            pack_bf16(low.at[0] * by, low.at[1] * by), pack_bf16(low.at[2] * by, low.at[3] * by),
            pack_bf16(high.at[0] * by, high.at[1] * by), pack_bf16(high.at[2] * by, high.at[3] * by));
    }
}

// weights · (1 − learning rate · decay) − update · learning rate · √max(1, OUTPUTS / INPUTS): weights [INPUTS,
// COLUMNS], update [BLOCKS, SHORT, LONG] → weights.
extern "C" __global__ void __launch_bounds__(256) muon_update(
    const float* __restrict__ weights, const bf16* __restrict__ update, float* __restrict__ new_weights,
    Settings settings) {
    SHARED(float, tile, TILE * (TILE + 1));
    int line = threadIdx.x / 8, place = threadIdx.x % 8 * 4;
    int row = blockIdx.y * TILE + line, column = blockIdx.x * TILE + place;
    int input = blockIdx.y * TILE + place, output = blockIdx.x * TILE + line;
    update += (size_t)blockIdx.z * ELEMENTS;
    bool is_inside = row < INPUTS && column < OUTPUTS;
    uint2 packed = {};
    if (!TALL && is_inside) packed = *(const uint2*)(update + (size_t)row * LONG + column);
    if (TALL && input < INPUTS && output < OUTPUTS) packed = *(const uint2*)(update + (size_t)output * LONG + input);
    Four own = {{low_bf16(packed.x), high_bf16(packed.x), low_bf16(packed.y), high_bf16(packed.y)}};
    if (TALL) {
#pragma unroll
        for (int j = 0; j < 4; j++) tile[line * (TILE + 1) + place + j] = own.at[j];
        __syncthreads();
#pragma unroll
        for (int j = 0; j < 4; j++) own.at[j] = tile[(place + j) * (TILE + 1) + line];
    }
    if (!is_inside) return;
    size_t at = (size_t)row * COLUMNS + (blockIdx.z * OUTPUTS + column);
    float rate = settings.at[1], kept = 1.0f - rate * settings.at[2];
    float by = rate * sqrtf(OUTPUTS > INPUTS ? (float)OUTPUTS / INPUTS : 1.0f);
    Four weight = load(weights + at);
#pragma unroll
    for (int j = 0; j < 4; j++) weight.at[j] = weight.at[j] * kept - own.at[j] * by;
    store(new_weights + at, weight);
}
#endif
