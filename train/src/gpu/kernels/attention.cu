// Causal attention with rotary positions and normed queries and keys, forward and backward, after FlashAttention-2
// (Dao, arXiv 2307.08691): scores live in registers only, and the backward pass makes them again.
//
// Macros: HEADS; DIM, the dimensions of a head: 16, 32, 64 or 128; TIME, the length of a sequence, at least 1; TURNING,
// the dimensions of a head that turn (RoPE, Su et al., arXiv 2104.09864, on pairs (i, i + DIM / 2) for 2 i < TURNING);
// HAS_GAIN, 1 where queries and keys are RMS-normed and queries multiplied by their head's gain, else 0.
//
// Rows are tokens, [batch · TIME]. `qkv` is bf16 [rows, 3 · WIDTH]: queries, keys and values, each head after head;
// `turned` is bf16 [rows, 2 · WIDTH]: the queries and keys that are multiplied. BATCH below is the number of sequences.

constexpr int WIDTH = HEADS * DIM;
// Threads of a block, of every kernel but those that only move memory.
constexpr int THREADS = 128;
// Tiles of 16 rows that a warp owns. With two, what it reads from shared memory is multiplied twice: with one, shared
// memory and not the tensor cores would set the pace. Heads of 128 dimensions leave no registers for a second.
constexpr int TILES = DIM == 128 ? 1 : 2;
constexpr int OWN = 16 * TILES;
// Rows that a block owns, and rows of the other side in shared memory at a time, twice.
constexpr int BLOCK = THREADS / 32 * OWN;
constexpr int PART = DIM < 64 ? 128 : DIM == 64 ? 64 : 32;
// Rows of the other side that a warp meets at a time: as many as there are registers for.
constexpr int ATTEND_STEP = 32;
constexpr int QUERY_STEP = DIM < 64 ? 16 : 32;
// 1 / √DIM, and log₂ e / √DIM: all exponentials are powers of two.
constexpr float SCALE =
    DIM == 16 ? 0.25f : DIM == 32 ? 0.17677669529663689f : DIM == 64 ? 0.125f : 0.08838834764831845f;
constexpr float SCALE_2 = 1.4426950408889634f * SCALE;
// How far, in powers of two, a score may exceed what its row's exponentials are relative to.
constexpr float SLACK = 8.0f;
#define INFINITE __uint_as_float(0x7f800000u)

// Whether a row, counted from the sequence's first, is in it. Blocks and parts divide 128.
__device__ __forceinline__ bool is_in_sequence(int row) { return TIME % 128 == 0 || row < TIME; }

// Where 8 numbers are in a tile [rows, DIM] of shared memory: the 16 bytes of a row change places by the row's number,
// so that 8 rows' 16 bytes of any one column lie in all 32 banks. Rows 16 apart change them in the same way.
__device__ __forceinline__ int place(int row, int eighth) {
    constexpr int EIGHTHS = DIM / 8 < 8 ? DIM / 8 : 8;
    return row * DIM + (eighth ^ (row / (8 / EIGHTHS) % EIGHTHS)) * 8;
}

// Begins to copy PART rows of DIM columns, zeros after the sequence's end.
__device__ __forceinline__ void copy_part(bf16* tile, const bf16* from, int stride, int first) {
    constexpr int AT_ONCE = THREADS / (DIM / 8);  // Rows of a turn: 8 at least, so that places repeat.
    const int row = threadIdx.x / (DIM / 8), eighth = threadIdx.x % (DIM / 8);
    tile += place(row, eighth);
    from += (size_t)(first + row) * stride + eighth * 8;
#pragma unroll
    for (int more = 0; more < PART; more += AT_ONCE)
        copy_16(tile + more * DIM, from + (size_t)more * stride, is_in_sequence(first + row + more));
}

// The warp's own rows from `first` on, as the left factors of products.
__device__ __forceinline__ void load_own(unsigned (&own)[TILES][DIM / 16][4], const bf16* from, int stride, int first) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int tile = 0; tile < TILES; tile++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int row = first + tile * 16 + half * 8 + lane / 4;
            const bf16* at = from + (size_t)row * stride + lane % 4 * 2;
#pragma unroll
            for (int k = 0; k < DIM / 16; k++) {
                own[tile][k][half] = is_in_sequence(row) ? *(const unsigned*)(at + k * 16) : 0;
                own[tile][k][half + 2] = is_in_sequence(row) ? *(const unsigned*)(at + k * 16 + 8) : 0;
            }
        }
}

// Writes the warp's own rows, each times its factor.
__device__ __forceinline__ void store_own(bf16* to, int stride, int first, const float (&own)[TILES][DIM / 8][4],
                                          const float (&factors)[TILES][2]) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int tile = 0; tile < TILES; tile++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int row = first + tile * 16 + half * 8 + lane / 4;
            const float factor = factors[tile][half];
            bf16* at = to + (size_t)row * stride + lane % 4 * 2;
#pragma unroll
            for (int n = 0; n < DIM / 8; n++)
                if (is_in_sequence(row))
                    *(unsigned*)(at + n * 8) =
                        pack_bf16(own[tile][n][2 * half] * factor, own[tile][n][2 * half + 1] * factor);
        }
}

// sums [OWN, ROWS] += own [OWN, DIM] · (ROWS rows of shared memory)ᵀ. Addresses are those of `add_rows`, which saves
// registers.
template <int ROWS>
__device__ __forceinline__ void multiply_rows(float (&sums)[TILES][ROWS / 8][4],
                                              const unsigned (&own)[TILES][DIM / 16][4], const bf16* rows) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int k = 0; k < DIM / 16; k++)
#pragma unroll
        for (int n = 0; n < ROWS / 16; n++) {
            unsigned pair[4];
            load_matrices(pair, rows + n * 16 * DIM + place(lane % 16, 2 * k + lane / 16));
#pragma unroll
            for (int tile = 0; tile < TILES; tile++) {
                multiply(sums[tile][2 * n], own[tile][k], pair[0], pair[2]);
                multiply(sums[tile][2 * n + 1], own[tile][k], pair[1], pair[3]);
            }
        }
}

// sums [OWN, DIM] += shares [OWN, 16] · 16 rows of shared memory.
__device__ __forceinline__ void add_rows(float (&sums)[TILES][DIM / 8][4], const unsigned (&shares)[TILES][4],
                                         const bf16* rows) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int n = 0; n < DIM / 16; n++) {
        unsigned pair[4];
        load_matrices_transposed(pair, rows + place(lane % 16, 2 * n + lane / 16));
#pragma unroll
        for (int tile = 0; tile < TILES; tile++) {
            multiply(sums[tile][2 * n], shares[tile], pair[0], pair[1]);
            multiply(sums[tile][2 * n + 1], shares[tile], pair[2], pair[3]);
        }
    }
}

// Scores of the future at −∞. Rows are queries and columns are keys, or the other way around.
template <int COLUMNS, bool ROWS_ARE_QUERIES>
__device__ __forceinline__ void hide_future(float (&scores)[TILES][COLUMNS / 8][4], int row, int column) {
    const int lane = threadIdx.x % 32, ahead = column - row + lane % 4 * 2 - lane / 4;
#pragma unroll
    for (int tile = 0; tile < TILES; tile++)
#pragma unroll
        for (int n = 0; n < COLUMNS / 8; n++)
#pragma unroll
            for (int corner = 0; corner < 4; corner++) {
                // The score's column less its row.
                const int apart = ahead + n * 8 + corner % 2 - tile * 16 - corner / 2 * 8;
                if (ROWS_ARE_QUERIES ? apart > 0 : apart < 0) scores[tile][n][corner] = -INFINITE;
            }
}

// turned, qkv → mixed bf16 [rows, WIDTH]; log_sum f32 [BATCH, HEADS, TIME]: log₂ Σ exp(score) of each query.
// Scores become left factors of the second product as they are: the layouts are the same but for the rounding.
// The greatest score of a row is not followed closely: exponentials are relative to a score of before until one exceeds
// it by SLACK, so that sums are hardly ever rescaled. Tensor cores sum the exponentials, too, as a product with ones.
// Threads: 128. Grid: (⌈TIME / BLOCK⌉, HEADS, BATCH), BLOCK = 128, or 64 for DIM = 128.
extern "C" __global__ void __launch_bounds__(128, DIM < 64 ? 4 : 2)
    attend(const bf16* __restrict__ turned, const bf16* __restrict__ qkv, bf16* __restrict__ mixed,
           float* __restrict__ log_sum) {
    SHARED(bf16, keys, 2 * PART * DIM);
    SHARED(bf16, values, 2 * PART * DIM);
    const int lane = threadIdx.x % 32, head = blockIdx.y;
    // The longest rows first, so that the last blocks to start are short.
    const int block = ((int)gridDim.x - 1 - (int)blockIdx.x) * BLOCK, first = block + threadIdx.x / 32 * OWN;
    const size_t row = (size_t)blockIdx.z * TIME;
    const bf16* from_keys = turned + row * (2 * WIDTH) + WIDTH + head * DIM;
    const bf16* from_values = qkv + row * (3 * WIDTH) + 2 * WIDTH + head * DIM;
    const int end = block + BLOCK < TIME ? block + BLOCK : TIME;

    copy_part(keys, from_keys, 2 * WIDTH, 0);
    copy_part(values, from_values, 3 * WIDTH, 0);
    close_copies();
    unsigned query[TILES][DIM / 16][4];
    load_own(query, turned + row * (2 * WIDTH) + head * DIM, 2 * WIDTH, first);
    float sums[TILES][DIM / 8][4] = {}, totals[TILES][4] = {}, relative[TILES][2];
#pragma unroll
    for (int tile = 0; tile < TILES; tile++) relative[tile][0] = relative[tile][1] = -INFINITE;

#pragma unroll 1
    for (int part = 0; part < end; part += PART) {
        const int buffer = part / PART % 2 * PART * DIM, other = PART * DIM - buffer;
        wait_for_copies<0>();
        __syncthreads();
        if (part + PART < end) {
            copy_part(keys + other, from_keys, 2 * WIDTH, part + PART);
            copy_part(values + other, from_values, 3 * WIDTH, part + PART);
            close_copies();
        }
#pragma unroll 1
        for (int key = part; key < part + PART && key < first + OWN; key += ATTEND_STEP) {
            const int at = buffer + (key - part) * DIM;
            float scores[TILES][ATTEND_STEP / 8][4] = {};
            multiply_rows<ATTEND_STEP>(scores, query, keys + at);
            if (key + ATTEND_STEP - 1 > first) hide_future<ATTEND_STEP, true>(scores, first, key);

            float greatest[TILES][2];
            bool exceeds = false;
#pragma unroll
            for (int tile = 0; tile < TILES; tile++)
#pragma unroll
                for (int half = 0; half < 2; half++) {
                    float& top = greatest[tile][half] = -INFINITE;
#pragma unroll
                    for (int n = 0; n < ATTEND_STEP / 8; n++)
                        top = fmaxf(top, fmaxf(scores[tile][n][2 * half], scores[tile][n][2 * half + 1]));
                    exceeds |= top * SCALE_2 > relative[tile][half] + SLACK;
                }
            if (__any_sync(0xffffffffu, exceeds)) {
#pragma unroll
                for (int tile = 0; tile < TILES; tile++)
#pragma unroll
                    for (int half = 0; half < 2; half++) {
                        const float before = relative[tile][half];
                        const float now = fmaxf(before, greatest_of_lanes<4>(greatest[tile][half]) * SCALE_2);
                        const float factor = exp2_fast(before - now);
                        relative[tile][half] = now;
                        totals[tile][2 * half] *= factor;
#pragma unroll
                        for (int n = 0; n < DIM / 8; n++) {
                            sums[tile][n][2 * half] *= factor;
                            sums[tile][n][2 * half + 1] *= factor;
                        }
                    }
            }
#pragma unroll
            for (int k = 0; k < ATTEND_STEP / 16; k++) {
                constexpr unsigned ONES = 0x3f803f80;
                unsigned shares[TILES][4];
#pragma unroll
                for (int tile = 0; tile < TILES; tile++) {
#pragma unroll
                    for (int corner = 0; corner < 4; corner++) {
                        const float* score = &scores[tile][2 * k + corner / 2][corner % 2 * 2];
                        const float less = relative[tile][corner % 2];
                        shares[tile][corner] =
                            pack_bf16(exp2_fast(score[0] * SCALE_2 - less), exp2_fast(score[1] * SCALE_2 - less));
                    }
                    multiply(totals[tile], shares[tile], ONES, ONES);
                }
                add_rows(sums, shares, values + at + k * 16 * DIM);
            }
        }
    }

    float factors[TILES][2];
#pragma unroll
    for (int tile = 0; tile < TILES; tile++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int query_row = first + tile * 16 + half * 8 + lane / 4;
            factors[tile][half] = 1.0f / totals[tile][2 * half];
            if (lane % 4 == 0 && is_in_sequence(query_row))
                log_sum[row * HEADS + (size_t)head * TIME + query_row] =
                    relative[tile][half] + log2f(totals[tile][2 * half]);
        }
    store_own(mixed + row * WIDTH + head * DIM, WIDTH, first, sums, factors);
}

// mixed, upstream (its gradient) bf16 [rows, WIDTH] → along f32 [BATCH, HEADS, TIME]: Σ mixed · upstream of each head.
// Threads: 256. Grid: (⌈TIME · WIDTH / 8 / 256⌉, BATCH).
extern "C" __global__ void __launch_bounds__(256)
    along(const bf16* __restrict__ mixed, const bf16* __restrict__ upstream, float* __restrict__ along) {
    const int index = blockIdx.x * 256 + threadIdx.x;
    const int time = index / (WIDTH / 8), head = index % (WIDTH / 8) / (DIM / 8);
    const size_t sequence = blockIdx.y, at = sequence * TIME * WIDTH + (size_t)index * 8;
    float sum = 0.0f;
    if (time < TIME) {
        const uint4 a = *(const uint4*)(mixed + at), b = *(const uint4*)(upstream + at);
        const unsigned of_a[4] = {a.x, a.y, a.z, a.w}, of_b[4] = {b.x, b.y, b.z, b.w};
#pragma unroll
        for (int pair = 0; pair < 4; pair++)
            sum += low_bf16(of_a[pair]) * low_bf16(of_b[pair]) + high_bf16(of_a[pair]) * high_bf16(of_b[pair]);
    }
    sum = sum_lanes<DIM / 8>(sum);
    if (index % (DIM / 8) == 0 && time < TIME) along[(sequence * HEADS + head) * TIME + time] = sum;
}

// turned, qkv, upstream bf16 [rows, WIDTH], log_sum, along → the first third of gradients bf16 [rows, 3 · WIDTH]: those
// of the turned queries, dQ = dS · K / √DIM with dS = P ∘ (dP − along), P = exp(Q Kᵀ / √DIM − log_sum), dP = dO · Vᵀ.
// Threads: 128. Grid: (⌈TIME / BLOCK⌉, HEADS, BATCH), BLOCK = 128, or 64 for DIM = 128.
extern "C" __global__ void __launch_bounds__(128, DIM == 16 ? 4 : DIM == 32 ? 3 : 2)
    query_gradients(const bf16* __restrict__ turned, const bf16* __restrict__ qkv, const bf16* __restrict__ upstream,
                    const float* __restrict__ log_sum, const float* __restrict__ along, bf16* __restrict__ gradients) {
    SHARED(bf16, keys, 2 * PART * DIM);
    SHARED(bf16, values, 2 * PART * DIM);
    const int lane = threadIdx.x % 32, head = blockIdx.y;
    const int block = ((int)gridDim.x - 1 - (int)blockIdx.x) * BLOCK, first = block + threadIdx.x / 32 * OWN;
    const size_t row = (size_t)blockIdx.z * TIME;
    const bf16* from_keys = turned + row * (2 * WIDTH) + WIDTH + head * DIM;
    const bf16* from_values = qkv + row * (3 * WIDTH) + 2 * WIDTH + head * DIM;
    const int end = block + BLOCK < TIME ? block + BLOCK : TIME;

    copy_part(keys, from_keys, 2 * WIDTH, 0);
    copy_part(values, from_values, 3 * WIDTH, 0);
    close_copies();
    unsigned query[TILES][DIM / 16][4], above[TILES][DIM / 16][4];
    load_own(query, turned + row * (2 * WIDTH) + head * DIM, 2 * WIDTH, first);
    load_own(above, upstream + row * WIDTH + head * DIM, WIDTH, first);
    float sums[TILES][DIM / 8][4] = {}, log_sums[TILES][2], less[TILES][2], factors[TILES][2];
#pragma unroll
    for (int tile = 0; tile < TILES; tile++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            const int query_row = first + tile * 16 + half * 8 + lane / 4;
            const size_t at = row * HEADS + (size_t)head * TIME + query_row;
            // A query after the sequence's end has no share of anything.
            log_sums[tile][half] = is_in_sequence(query_row) ? log_sum[at] : INFINITE;
            less[tile][half] = is_in_sequence(query_row) ? -along[at] : 0.0f;
            factors[tile][half] = SCALE;
        }

#pragma unroll 1
    for (int part = 0; part < end; part += PART) {
        const int buffer = part / PART % 2 * PART * DIM, other = PART * DIM - buffer;
        wait_for_copies<0>();
        __syncthreads();
        if (part + PART < end) {
            copy_part(keys + other, from_keys, 2 * WIDTH, part + PART);
            copy_part(values + other, from_values, 3 * WIDTH, part + PART);
            close_copies();
        }
#pragma unroll 1
        for (int key = part; key < part + PART && key < first + OWN; key += QUERY_STEP) {
            const int at = buffer + (key - part) * DIM;
            float scores[TILES][QUERY_STEP / 8][4] = {}, slopes[TILES][QUERY_STEP / 8][4];
#pragma unroll
            for (int tile = 0; tile < TILES; tile++)
#pragma unroll
                for (int n = 0; n < QUERY_STEP / 8; n++)
#pragma unroll
                    for (int each = 0; each < 4; each++) slopes[tile][n][each] = less[tile][each / 2];
            multiply_rows<QUERY_STEP>(scores, query, keys + at);
            multiply_rows<QUERY_STEP>(slopes, above, values + at);
            if (key + QUERY_STEP - 1 > first) hide_future<QUERY_STEP, true>(scores, first, key);
#pragma unroll
            for (int k = 0; k < QUERY_STEP / 16; k++) {
                unsigned factor[TILES][4];
#pragma unroll
                for (int tile = 0; tile < TILES; tile++)
#pragma unroll
                    for (int corner = 0; corner < 4; corner++) {
                        const int n = 2 * k + corner / 2, half = corner % 2;
                        const float *score = &scores[tile][n][2 * half], *slope = &slopes[tile][n][2 * half];
                        factor[tile][corner] =
                            pack_bf16(slope[0] * exp2_fast(score[0] * SCALE_2 - log_sums[tile][half]),
                                      slope[1] * exp2_fast(score[1] * SCALE_2 - log_sums[tile][half]));
                    }
                add_rows(sums, factor, keys + at + k * 16 * DIM);
            }
        }
    }
    store_own(gradients + row * (3 * WIDTH) + head * DIM, 3 * WIDTH, first, sums, factors);
}

// The same → the other two thirds of gradients: those of the turned keys, dK = dSᵀ · Q / √DIM, and of the values,
// dV = Pᵀ · dO. Scores are made transposed, keys by queries, so that they are left factors as they are.
// Threads: 128. Grid: (⌈TIME / BLOCK⌉, HEADS, BATCH), BLOCK = 128, or 64 for DIM = 128.
extern "C" __global__ void __launch_bounds__(128, DIM == 16 ? 4 : DIM == 32 ? 3 : 2)
    key_gradients(const bf16* __restrict__ turned, const bf16* __restrict__ qkv, const bf16* __restrict__ upstream,
                  const float* __restrict__ log_sum, const float* __restrict__ along, bf16* __restrict__ gradients) {
    SHARED(bf16, queries, 2 * PART * DIM);
    SHARED(bf16, above, 2 * PART * DIM);
    SHARED(float, of_queries, 2 * 2 * PART);  // Of each buffer, PART of log_sum, then of −along.
    const int lane = threadIdx.x % 32, head = blockIdx.y;
    const int block = blockIdx.x * BLOCK, first = block + threadIdx.x / 32 * OWN;
    const size_t row = (size_t)blockIdx.z * TIME;
    const bf16* from_queries = turned + row * (2 * WIDTH) + head * DIM;
    const bf16* from_above = upstream + row * WIDTH + head * DIM;
    const float* from_log_sum = log_sum + row * HEADS + (size_t)head * TIME;
    const float* from_along = along + row * HEADS + (size_t)head * TIME;
    // Rows of f32 are not aligned for copies of 16 bytes: threads carry them.
    constexpr int CARRIED = (2 * PART + THREADS - 1) / THREADS;
    float next[CARRIED];
    auto load_numbers = [&](int part) {
#pragma unroll
        for (int each = 0; each < CARRIED; each++) {
            const int index = each * THREADS + threadIdx.x, query = part + index % PART;
            const bool is_log_sum = index < PART, is_there = index < 2 * PART && is_in_sequence(query);
            next[each] = is_there ? (is_log_sum ? from_log_sum : from_along)[query] : is_log_sum ? INFINITE : 0.0f;
            if (!is_log_sum) next[each] = -next[each];
        }
    };
    auto store_numbers = [&](int buffer) {
#pragma unroll
        for (int each = 0; each < CARRIED; each++) {
            const int index = each * THREADS + threadIdx.x;
            if (index < 2 * PART) of_queries[buffer * 2 * PART + index] = next[each];
        }
    };

    copy_part(queries, from_queries, 2 * WIDTH, block);
    copy_part(above, from_above, WIDTH, block);
    close_copies();
    load_numbers(block);
    store_numbers(0);
    unsigned key[TILES][DIM / 16][4], value[TILES][DIM / 16][4];
    load_own(key, turned + row * (2 * WIDTH) + WIDTH + head * DIM, 2 * WIDTH, first);
    load_own(value, qkv + row * (3 * WIDTH) + 2 * WIDTH + head * DIM, 3 * WIDTH, first);
    float of_keys[TILES][DIM / 8][4] = {}, of_values[TILES][DIM / 8][4] = {};

#pragma unroll 1
    for (int part = block, buffer = 0; part < TIME; part += PART, buffer ^= 1) {
        wait_for_copies<0>();
        __syncthreads();
        if (part + PART < TIME) {
            copy_part(queries + (buffer ^ 1) * PART * DIM, from_queries, 2 * WIDTH, part + PART);
            copy_part(above + (buffer ^ 1) * PART * DIM, from_above, WIDTH, part + PART);
            close_copies();
            load_numbers(part + PART);
        }
        // Steps before the warp's first key are the keys' past.
#pragma unroll 1
        for (int query = part > first ? part : first; query < part + PART; query += 16) {
            const int at = (buffer * PART + query - part) * DIM;
            const float* numbers = of_queries + buffer * 2 * PART + query - part + lane % 4 * 2;
            float scores[TILES][2][4] = {}, slopes[TILES][2][4];
            unsigned shares[TILES][4];
            multiply_rows<16>(scores, key, queries + at);
            if (query < first + OWN - 1) hide_future<16, false>(scores, first, query);
#pragma unroll
            for (int n = 0; n < 2; n++) {
                const float2 log_sums = *(const float2*)(numbers + n * 8);
                const float2 less = *(const float2*)(numbers + PART + n * 8);
#pragma unroll
                for (int tile = 0; tile < TILES; tile++)
#pragma unroll
                    for (int half = 0; half < 2; half++) {
                        const float* score = &scores[tile][n][2 * half];
                        shares[tile][2 * n + half] = pack_bf16(exp2_fast(score[0] * SCALE_2 - log_sums.x),
                                                               exp2_fast(score[1] * SCALE_2 - log_sums.y));
                        slopes[tile][n][2 * half] = less.x;
                        slopes[tile][n][2 * half + 1] = less.y;
                    }
            }
            add_rows(of_values, shares, above + at);
            multiply_rows<16>(slopes, value, above + at);
            // Shares are kept rounded: there are no registers for more.
#pragma unroll
            for (int tile = 0; tile < TILES; tile++)
#pragma unroll
                for (int corner = 0; corner < 4; corner++) {
                    unsigned& share = shares[tile][corner];
                    const float* slope = &slopes[tile][corner / 2][corner % 2 * 2];
                    share = pack_bf16(low_bf16(share) * slope[0], high_bf16(share) * slope[1]);
                }
            add_rows(of_keys, shares, queries + at);
        }
        store_numbers(buffer ^ 1);
    }

    float factors[TILES][2], ones[TILES][2];
#pragma unroll
    for (int tile = 0; tile < TILES; tile++) {
        factors[tile][0] = factors[tile][1] = SCALE;
        ones[tile][0] = ones[tile][1] = 1.0f;
    }
    bf16* to = gradients + row * (3 * WIDTH) + WIDTH + head * DIM;
    store_own(to, 3 * WIDTH, first, of_keys, factors);
    store_own(to + WIDTH, 3 * WIDTH, first, of_values, ones);
}

// Queries and keys before attention, and their gradients after it. A thread has 8 pairs of a head's dimensions, a
// block this many rows.
constexpr int PREPARED = 32;
// Threads of a head of a row, and of all queries and keys of it.
constexpr int OF_HEAD = DIM / 16;
constexpr int OF_ROW = 2 * HEADS * OF_HEAD;

__device__ __forceinline__ void read_8(float (&x)[8], const bf16* from) {
    const uint4 packed = *(const uint4*)from;
    const unsigned pairs[4] = {packed.x, packed.y, packed.z, packed.w};
#pragma unroll
    for (int pair = 0; pair < 4; pair++) x[2 * pair] = low_bf16(pairs[pair]), x[2 * pair + 1] = high_bf16(pairs[pair]);
}

__device__ __forceinline__ void write_8(bf16* to, const float (&x)[8]) {
    *(uint4*)to =
        make_uint4(pack_bf16(x[0], x[1]), pack_bf16(x[2], x[3]), pack_bf16(x[4], x[5]), pack_bf16(x[6], x[7]));
}

// Turns 8 pairs, `pair` and those after it, by the angles of a position, or back for `direction` −1.
__device__ __forceinline__ void turn(float (&x)[2][8], const float2* angles, int pair, float direction) {
#pragma unroll
    for (int index = 0; index < 8; index += 2) {
        const float4 two = *(const float4*)(angles + pair + index);  // A cosine, its sine, and the next.
#pragma unroll
        for (int next = 0; next < 2; next++) {
            if (TURNING < DIM && 2 * (pair + index + next) >= TURNING) continue;
            const float cosine = next ? two.z : two.x, sine = direction * (next ? two.w : two.y);
            float &a = x[0][index + next], &b = x[1][index + next], turned_a = a * cosine - b * sine;
            b = b * cosine + a * sine;
            a = turned_a;
        }
    }
}

// Σ a · b of a head, for each of its threads.
__device__ __forceinline__ float inner(const float (&a)[2][8], const float (&b)[2][8]) {
    float sum = 0.0f;
#pragma unroll
    for (int index = 0; index < 8; index++) sum += a[0][index] * b[0][index] + a[1][index] * b[1][index];
    return sum_lanes<OF_HEAD>(sum);
}

__device__ __forceinline__ float inverse_rms(const float (&x)[2][8]) {
    return rsqrtf(inner(x, x) * (1.0f / DIM) + 1e-6f);
}

// qkv, gain f32 [HEADS] (not read without HAS_GAIN), table f32 [TIME, DIM / 2, 2] of cosines and sines → turned.
// Threads: 256. Grid: (⌈TIME / 32⌉, BATCH).
extern "C" __global__ void __launch_bounds__(256)
    prepare(const bf16* __restrict__ qkv, const float* __restrict__ gain, const float2* __restrict__ table,
            bf16* __restrict__ turned) {
    for (int index = threadIdx.x; index < PREPARED * OF_ROW; index += 256) {
        const int time = blockIdx.x * PREPARED + index / OF_ROW;
        const int vector = index % OF_ROW / OF_HEAD, pair = index % OF_HEAD * 8;
        const size_t row = (size_t)blockIdx.y * TIME + time;
        const bf16* from = qkv + row * (3 * WIDTH) + vector * DIM + pair;
        float x[2][8] = {};
        if (time < TIME) read_8(x[0], from), read_8(x[1], from + DIM / 2);
        if (HAS_GAIN) {
            const float factor = inverse_rms(x) * (vector < HEADS ? gain[vector] : 1.0f);
#pragma unroll
            for (int each = 0; each < 8; each++) x[0][each] *= factor, x[1][each] *= factor;
        }
        if (time >= TIME) continue;
        turn(x, table + (size_t)time * (DIM / 2), pair, 1.0f);
        bf16* to = turned + row * (2 * WIDTH) + vector * DIM + pair;
        write_8(to, x[0]), write_8(to + DIM / 2, x[1]);
    }
}

// The backward pass of `prepare`. Gradients of turned queries and keys become those of qkv in place: turned back, and
// through the norm, dx = (dy − y · mean(y · dy)) / rms(x). gain_parts f32 [PARTS, HEADS]: each block's part of the
// gain's gradient (not written without HAS_GAIN); PARTS = ⌈TIME / 32⌉ · BATCH.
// Threads: 256. Grid: (⌈TIME / 32⌉, BATCH).
extern "C" __global__ void __launch_bounds__(256)
    prepare_backward(const bf16* __restrict__ qkv, const float* __restrict__ gain, const float2* __restrict__ table,
                     bf16* __restrict__ gradients, float* __restrict__ gain_parts) {
    SHARED(float, of_gain, PREPARED * HEADS);
    for (int index = threadIdx.x; index < PREPARED * OF_ROW; index += 256) {
        const int time = blockIdx.x * PREPARED + index / OF_ROW;
        const int vector = index % OF_ROW / OF_HEAD, pair = index % OF_HEAD * 8;
        const size_t at = ((size_t)blockIdx.y * TIME + time) * (3 * WIDTH) + vector * DIM + pair;
        float gradient[2][8] = {};
        if (time < TIME) {
            read_8(gradient[0], gradients + at), read_8(gradient[1], gradients + at + DIM / 2);
            turn(gradient, table + (size_t)time * (DIM / 2), pair, -1.0f);
        }
        if (HAS_GAIN) {
            float x[2][8] = {};
            if (time < TIME) read_8(x[0], qkv + at), read_8(x[1], qkv + at + DIM / 2);
            const float inverse = inverse_rms(x), along = inner(x, gradient) * inverse;  // Σ y · dy
            if (vector < HEADS && pair == 0) of_gain[index / OF_ROW * HEADS + vector] = along;
            const float factor = inverse * (vector < HEADS ? gain[vector] : 1.0f);
            const float less = along * inverse * (1.0f / DIM);
#pragma unroll
            for (int each = 0; each < 16; each++) {
                float& change = gradient[each / 8][each % 8];
                change = (change - x[each / 8][each % 8] * less) * factor;
            }
        }
        if (time < TIME) write_8(gradients + at, gradient[0]), write_8(gradients + at + DIM / 2, gradient[1]);
    }
    if (!HAS_GAIN) return;
    __syncthreads();
    for (int head = threadIdx.x; head < HEADS; head += 256) {
        float sum = 0.0f;
        for (int row = 0; row < PREPARED; row++) sum += of_gain[row * HEADS + head];
        gain_parts[((size_t)blockIdx.y * gridDim.x + blockIdx.x) * HEADS + head] = sum;
    }
}
