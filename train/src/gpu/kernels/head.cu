// The soft-max over the vocabulary and its loss, from the logits of each row. Bound by memory: a row's logits are read
// once; a warp keeps them in registers where the vocabulary is small, else a block in shared memory.
//
// Macros: ROWS, VOCABULARY (any number); HAS_BIAS if a bias is added to logits; HAS_CAP if logits are then soft-capped,
// by SOFT_CAP; DIVISOR for `head_loss`, without which it is `nats_only` that is compiled. COUNT is that of `mean`.
//
// Threads: 512 if VOCABULARY > 4096, else 256. Grid: (ROWS) if VOCABULARY > 1024, else (⌈ROWS / 8⌉). Shared memory of
// the launch: 4 · VOCABULARY bytes if VOCABULARY > 1024, else none.

// Sums, or greatest ones, over a block of so many threads; `of_warps` has a place for each warp, used once.
template <int THREADS>
__device__ __forceinline__ float sum_block(float x, float* of_warps) {
    x = sum_lanes<32>(x);
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = x;
    __syncthreads();
    float sum = 0.0f;
#pragma unroll
    for (int warp = 0; warp < THREADS / 32; warp++) sum += of_warps[warp];
    return sum;
}

template <int THREADS>
__device__ __forceinline__ float greatest_of_block(float x, float* of_warps) {
    x = greatest_of_lanes<32>(x);
    if (threadIdx.x % 32 == 0) of_warps[threadIdx.x / 32] = x;
    __syncthreads();
    float greatest = of_warps[0];
#pragma unroll
    for (int warp = 1; warp < THREADS / 32; warp++) greatest = fmaxf(greatest, of_warps[warp]);
    return greatest;
}

#ifdef VOCABULARY
#ifdef HAS_CAP
constexpr bool CAPPED = true;
constexpr float CAP = SOFT_CAP;
#else
constexpr bool CAPPED = false;
constexpr float CAP = 1.0f;
#endif

// What is held of a logit is its value, or the tanh if it is capped: e^logit = 2^(held · TO_BITS). Of capped logits the
// greatest need not be taken off before: e^CAP · VOCABULARY is in range.
constexpr float TO_BITS = CAP * 1.44269504f;
constexpr bool NEEDS_TOP = !CAPPED || CAP > 60.0f;

__device__ constexpr int divide_up(int count, int by) { return (count + by - 1) / by; }

constexpr bool IN_REGISTERS = VOCABULARY <= 1024;
constexpr int HEAD_THREADS = VOCABULARY <= 4096 ? 256 : 512;
constexpr int ROW_THREADS = IN_REGISTERS ? 32 : HEAD_THREADS;
constexpr int N = VOCABULARY % 4 == 0 ? 4 : VOCABULARY % 2 == 0 ? 2 : 1; // numbers of a piece
constexpr int PIECES = divide_up(VOCABULARY, N * ROW_THREADS);          // of a thread
constexpr int MOST_AT_ONCE = N == 4 ? 8 : 16;
constexpr int AT_ONCE = IN_REGISTERS ? PIECES : divide_up(PIECES, divide_up(PIECES, MOST_AT_ONCE));

// Neighbouring numbers, read or written by one access.
struct __align__(N * 4) Piece {
    float at[N];
};

__device__ __forceinline__ void store_halves(bf16* to, const Piece& x) {
    if constexpr (N == 1) *to = to_bf16(x.at[0]);
    if constexpr (N == 2) *(unsigned*)to = pack_bf16(x.at[0], x.at[1]);
    if constexpr (N == 4) *(uint2*)to = make_uint2(pack_bf16(x.at[0], x.at[1]), pack_bf16(x.at[2], x.at[3]));
}

__device__ __forceinline__ float held_of(float logit, const float* bias, int index) {
#ifdef HAS_BIAS
    logit += bias[index];
#endif
    return CAPPED ? tanhf(logit * (1.0f / CAP)) : logit;
}

// Visits so many of the thread's pieces: (piece, its first column).
template <class Visit>
__device__ __forceinline__ void each_piece(int start, int thread, Visit visit) {
#pragma unroll
    for (int piece = start; piece < start + AT_ONCE; piece++) {
        int first = (piece * ROW_THREADS + thread) * N;
        if (first < VOCABULARY) visit(piece, first);
    }
}

// Writes −ln p of the row's target and, if asked for, what each logit adds to it, over `divisor`: the slope.
template <bool HAS_SLOPE>
__device__ __forceinline__ void loss_of_row(
    const float* __restrict__ logits, const float* __restrict__ bias, const int* __restrict__ targets,
    float* __restrict__ nats, bf16* __restrict__ slope, float divisor) {
    SHARED_OF_LAUNCH(shared);
    SHARED(float, of_warps, 2 * 16);
    int thread = threadIdx.x % ROW_THREADS;
    int row = IN_REGISTERS ? blockIdx.x * (HEAD_THREADS / 32) + threadIdx.x / 32 : blockIdx.x;
    if (row >= ROWS) return;
    logits += (size_t)row * VOCABULARY;
    int target = targets[row];
    float chosen = held_of(logits[target], bias, target);
    Piece in_registers[AT_ONCE];
    auto held = [&](int piece) -> Piece& {
        return IN_REGISTERS ? in_registers[piece] : ((Piece*)shared)[piece * ROW_THREADS + thread];
    };

    float top = -__uint_as_float(0x7f800000), sum = 0.0f;
#pragma unroll 1
    for (int start = 0; start < PIECES; start += AT_ONCE) {
        Piece read[AT_ONCE];
#pragma unroll
        for (int index = 0; index < AT_ONCE; index++) {
            int first = min(((start + index) * ROW_THREADS + thread) * N, VOCABULARY - N);
            read[index] = *(const Piece*)(logits + first);
        }
        each_piece(start, thread, [&](int piece, int first) {
            Piece own = read[piece - start];
#pragma unroll
            for (int j = 0; j < N; j++) {
                own.at[j] = held_of(own.at[j], bias, first + j);
                if (NEEDS_TOP) top = fmaxf(top, own.at[j]);
                else sum += exp2_fast(own.at[j] * TO_BITS);
            }
            held(piece) = own;
        });
    }
    if (NEEDS_TOP) {
        top = IN_REGISTERS ? greatest_of_lanes<32>(top) : greatest_of_block<ROW_THREADS>(top, of_warps);
#pragma unroll 1
        for (int start = 0; start < PIECES; start += AT_ONCE) {
            each_piece(start, thread, [&](int piece, int) {
                Piece own = held(piece);
#pragma unroll
                for (int j = 0; j < N; j++) sum += exp2_fast((own.at[j] - top) * TO_BITS);
            });
        }
    } else {
        top = 0.0f;
    }
    sum = IN_REGISTERS ? sum_lanes<32>(sum) : sum_block<ROW_THREADS>(sum, of_warps + 16);
    if (thread == 0) nats[row] = logf(sum) + (top - chosen) * CAP;
    if (!HAS_SLOPE) return;

    float share = 1.0f / (sum * divisor);
    slope += (size_t)row * VOCABULARY;
#pragma unroll 1
    for (int start = 0; start < PIECES; start += AT_ONCE) {
        each_piece(start, thread, [&](int piece, int first) {
            Piece own = held(piece), slopes;
#pragma unroll
            for (int j = 0; j < N; j++) slopes.at[j] = exp2_fast((own.at[j] - top) * TO_BITS) * share;
            if ((unsigned)(target - first) < N) {
#pragma unroll
                for (int j = 0; j < N; j++) slopes.at[j] -= first + j == target ? 1.0f / divisor : 0.0f;
            }
#pragma unroll
            for (int j = 0; j < N; j++) {
                if (CAPPED) slopes.at[j] *= 1.0f - own.at[j] * own.at[j];
            }
            store_halves(slope + first, slopes);
        });
    }
}

#ifdef DIVISOR
// −ln p of each target, and the gradient of their sum / DIVISOR: logits [ROWS, VOCABULARY], bias [VOCABULARY] (not read
// without HAS_BIAS), targets [ROWS] → nats [ROWS], slope [ROWS, VOCABULARY].
extern "C" __global__ void __launch_bounds__(HEAD_THREADS) head_loss(
    const float* __restrict__ logits, const float* __restrict__ bias, const int* __restrict__ targets,
    float* __restrict__ nats, bf16* __restrict__ slope) {
    loss_of_row<true>(logits, bias, targets, nats, slope, DIVISOR);
}
#else
// Without the gradient.
extern "C" __global__ void __launch_bounds__(HEAD_THREADS) nats_only(
    const float* __restrict__ logits, const float* __restrict__ bias, const int* __restrict__ targets,
    float* __restrict__ nats) {
    loss_of_row<false>(logits, bias, targets, nats, nullptr, 1.0f);
}
#endif
#endif

#ifdef COUNT
// The mean of x [COUNT] → out [1]. Threads: 256. Grid: (1).
extern "C" __global__ void __launch_bounds__(256) mean(const float* __restrict__ x, float* __restrict__ out) {
    SHARED(float, of_warps, 8);
    constexpr int FOURS = COUNT / 4;
    float sum = (int)threadIdx.x < COUNT % 4 ? x[4 * FOURS + threadIdx.x] : 0.0f;
#pragma unroll 16
    for (int at = threadIdx.x; at < FOURS; at += 256) {
        float4 own = ((const float4*)x)[at];
        sum += own.x + own.y + (own.z + own.w);
    }
    sum = sum_block<256>(sum, of_warps);
    if (threadIdx.x == 0) *out = sum / COUNT;
}
#endif
