// What training does with rows of the residual stream besides products and attention: RMS norms, causal convolutions,
// embeddings, and sums over rows. All of it is bound by memory: accesses are of 16 bytes wherever rows are aligned,
// each number is read once, and each thread has several loads under way.
//
// Macros: WIDTH (columns), a multiple of 8 except for `column_sums`; ROWS; and what each section asks for. Which macros
// are defined says which section is compiled, since each takes its time.
#if defined(VOCABULARY)
#define TABLE_GRADIENT
#elif defined(TIME) && defined(PARTS)
#define CONVOLUTION_BACKWARD
#elif defined(TIME)
#define CONVOLUTION
#elif defined(SCALE)
#define EMBEDDING
#elif defined(WIDTH) && defined(PARTS)
#define COLUMN_SUMS
#elif defined(WIDTH)
#define NORMS
#elif defined(PARTS)
#define SUM_PARTS
#else
#define ROUND
#endif

// So many neighbouring numbers, read or written by one access.
template <class Number, int N>
struct __align__(N * sizeof(Number)) Piece {
    Number at[N];
};
typedef Piece<float, 4> Four;

__device__ __forceinline__ Four load(const float* from) { return *(const Four*)from; }

__device__ __forceinline__ Four load(const bf16* from) {
    uint2 packed = *(const uint2*)from;
    return {{low_bf16(packed.x), high_bf16(packed.x), low_bf16(packed.y), high_bf16(packed.y)}};
}

__device__ __forceinline__ void store(float* to, Four x) {
    *(float4*)to = make_float4(x.at[0], x.at[1], x.at[2], x.at[3]);
}

__device__ __forceinline__ void store(bf16* to, Four x) {
    *(uint2*)to = make_uint2(pack_bf16(x.at[0], x.at[1]), pack_bf16(x.at[2], x.at[3]));
}

__device__ __forceinline__ void add(Four& sum, Four x) {
#pragma unroll
    for (int j = 0; j < 4; j++) sum.at[j] += x.at[j];
}

// sum += x · by, elementwise.
__device__ __forceinline__ void add_product(Four& sum, Four x, Four by) {
#pragma unroll
    for (int j = 0; j < 4; j++) sum.at[j] += x.at[j] * by.at[j];
}

__device__ __forceinline__ Four times(Four x, float by) {
    return {{x.at[0] * by, x.at[1] * by, x.at[2] * by, x.at[3] * by}};
}

__device__ constexpr int divide_up(int count, int by) { return (count + by - 1) / by; }

// Of a block of THREADS threads in groups of LANES: the sum over the groups, in their order, of each of the numbers
// that the lanes hold. Visits (number, lane, sum); threads beyond the last whole group take no part.
template <int THREADS, int LANES, int NUMBERS, class Visit>
__device__ __forceinline__ void sum_groups(const float (&own)[NUMBERS], Visit visit) {
    SHARED(float, gathered, THREADS * NUMBERS);
#pragma unroll
    for (int number = 0; number < NUMBERS; number++) gathered[number * THREADS + threadIdx.x] = own[number];
    __syncthreads();
    for (int index = threadIdx.x; index < LANES * NUMBERS; index += THREADS) {
        int number = index % NUMBERS, lane = index / NUMBERS;
        float sum = 0.0f;
#pragma unroll 8
        for (int group = 0; group < THREADS / LANES; group++) sum += gathered[number * THREADS + group * LANES + lane];
        visit(number, lane, sum);
    }
}

#ifdef WIDTH
__device__ __forceinline__ size_t offset(int row, int column) { return (size_t)row * WIDTH + column; }
#endif

#if defined(NORMS) || defined(EMBEDDING)
// Operations on whole rows. A group of lanes has a row, each lane some pieces of it, and several rows at once where
// they are short. Threads: 256. Grid: (⌈ROWS / BLOCK_ROWS⌉), where BLOCK_ROWS is 128 for a WIDTH to 32, 64 to 64, 32 to
// 128, 16 to 384, and 8 above.
constexpr int LANES = WIDTH <= 32 ? 8 : WIDTH <= 64 ? 16 : 32;
constexpr int PIECES = divide_up(WIDTH / 4, LANES);
constexpr int AT_ONCE = PIECES >= 4 ? 1 : PIECES == 1 ? 4 : 2;
constexpr int BLOCK_ROWS = 256 / LANES * AT_ONCE;

// What a thread holds of its rows.
typedef Four Held[AT_ONCE][PIECES];

// Visits (slot, piece, row, column) of all that the thread holds; instead of rows after the end the last one, or none.
// To load too much is quicker than to branch around loads.
template <bool AFTER_END, class Visit>
__device__ __forceinline__ void each_piece(Visit visit) {
#pragma unroll
    for (int slot = 0; slot < AT_ONCE; slot++) {
        int row = blockIdx.x * BLOCK_ROWS + slot * (256 / LANES) + threadIdx.x / LANES;
        if (!AFTER_END && row >= ROWS) break;
#pragma unroll
        for (int piece = 0; piece < PIECES; piece++) {
            int column = (piece * LANES + threadIdx.x % LANES) * 4;
            if (column < WIDTH) visit(slot, piece, min(row, ROWS - 1), column);
        }
    }
}

template <class Visit>
__device__ __forceinline__ void each_loaded(Visit visit) { each_piece<true>(visit); }

template <class Visit>
__device__ __forceinline__ void each_stored(Visit visit) { each_piece<false>(visit); }

#ifdef NORMS
// The mean over the row of x · y.
__device__ __forceinline__ float mean_product(const Four (&x)[PIECES], const Four (&y)[PIECES]) {
    Four sums = {};
#pragma unroll
    for (int piece = 0; piece < PIECES; piece++) add_product(sums, x[piece], y[piece]);
    return sum_lanes<LANES>(sums.at[0] + sums.at[1] + (sums.at[2] + sums.at[3])) * (1.0f / WIDTH);
}

// 1 / √(mean(x²) + 1e-6).
__device__ __forceinline__ float inverse_root_mean(const Four (&x)[PIECES]) {
    return rsqrtf(mean_product(x, x) + 1e-6f);
}

template <class Number>
__device__ __forceinline__ void normalize_rows(const float* __restrict__ x, Number* __restrict__ out) {
    Held held = {};
    each_loaded([&](int slot, int piece, int row, int column) { held[slot][piece] = load(x + offset(row, column)); });
    float inverse[AT_ONCE];
#pragma unroll
    for (int slot = 0; slot < AT_ONCE; slot++) inverse[slot] = inverse_root_mean(held[slot]);
    each_stored([&](int slot, int piece, int row, int column) {
        store(out + offset(row, column), times(held[slot][piece], inverse[slot]));
    });
}

// RMS norm without scale (Zhang & Sennrich, arXiv 1910.07467): x [ROWS, WIDTH] → the same.
extern "C" __global__ void __launch_bounds__(256) normalize(const float* __restrict__ x, bf16* __restrict__ out) {
    normalize_rows(x, out);
}

extern "C" __global__ void __launch_bounds__(256) normalize_single(
    const float* __restrict__ x, float* __restrict__ out) {
    normalize_rows(x, out);
}

// With y the normed row and u its gradient: (u − y · mean(y · u)) / √(mean(x²) + 1e-6), plus `gradient` if that is
// added.
template <bool IS_ADDED, class Number>
__device__ __forceinline__ void normalize_rows_backward(
    const float* __restrict__ x, const Number* __restrict__ upstream, const float* __restrict__ gradient,
    float* __restrict__ out) {
    Held held = {}, above = {};
    each_loaded([&](int slot, int piece, int row, int column) {
        held[slot][piece] = load(x + offset(row, column));
        above[slot][piece] = load(upstream + offset(row, column));
    });
    float inverse[AT_ONCE], along[AT_ONCE];
#pragma unroll
    for (int slot = 0; slot < AT_ONCE; slot++) {
        inverse[slot] = inverse_root_mean(held[slot]);
        along[slot] = mean_product(held[slot], above[slot]) * inverse[slot] * inverse[slot];
    }
    each_stored([&](int slot, int piece, int row, int column) {
        Four sum = {};
        if (IS_ADDED) sum = load(gradient + offset(row, column));
#pragma unroll
        for (int j = 0; j < 4; j++) {
            sum.at[j] += (above[slot][piece].at[j] - held[slot][piece].at[j] * along[slot]) * inverse[slot];
        }
        store(out + offset(row, column), sum);
    });
}

// The gradient of a stream x that goes on beside its norm: that of the norm's input, plus the stream's own `gradient`.
// All are [ROWS, WIDTH].
extern "C" __global__ void __launch_bounds__(256) normalize_backward(
    const float* __restrict__ x, const bf16* __restrict__ upstream, const float* __restrict__ gradient,
    float* __restrict__ out) {
    normalize_rows_backward<true>(x, upstream, gradient, out);
}

extern "C" __global__ void __launch_bounds__(256) normalize_single_backward(
    const float* __restrict__ x, const float* __restrict__ upstream, float* __restrict__ out) {
    normalize_rows_backward<false>(x, upstream, nullptr, out);
}
#endif

#ifdef EMBEDDING
// Rows of table [entries, WIDTH] for tokens [ROWS], times SCALE → [ROWS, WIDTH].
extern "C" __global__ void __launch_bounds__(256) embed(
    const float* __restrict__ table, const int* __restrict__ tokens, float* __restrict__ out) {
    Held held;
    each_loaded([&](int slot, int piece, int row, int column) {
        held[slot][piece] = times(load(table + offset(tokens[row], column)), SCALE);
    });
    each_stored([&](int slot, int piece, int row, int column) { store(out + offset(row, column), held[slot][piece]); });
}
#endif
#endif

#if defined(CONVOLUTION) || defined(CONVOLUTION_BACKWARD)
constexpr int TAPS = 4;

// Four columns of a row, or of the nearest one where there is none: it is not used then.
__device__ __forceinline__ Four load_row(const float* x, int row, int column) {
    return load(x + offset(min(max(row, 0), ROWS - 1), column));
}

#ifdef CONVOLUTION
// Causal convolution of each column in sequences of TIME rows: y_t = Σ_k taps[k · WIDTH + column] · x_(t − k) for k <
// 4. x [ROWS, WIDTH] → the same. A thread has four columns of STRIP rows; the 3 rows before are in a cache already.
// Threads: 128. Grid: (⌈⌈ROWS / 16⌉ · WIDTH / 4 / 128⌉).
constexpr int STRIP = 16;

extern "C" __global__ void __launch_bounds__(128) convolve(
    const float* __restrict__ x, const float* __restrict__ taps, float* __restrict__ out) {
    int item = blockIdx.x * 128 + threadIdx.x;
    int column = item % (WIDTH / 4) * 4, first = item / (WIDTH / 4) * STRIP;
    if (first >= ROWS) return;
    Four tap[TAPS], inputs[TAPS - 1 + STRIP];
#pragma unroll
    for (int index = 0; index < TAPS - 1 + STRIP; index++) inputs[index] = load_row(x, first - 3 + index, column);
#pragma unroll
    for (int k = 0; k < TAPS; k++) tap[k] = load(taps + offset(k, column));
#pragma unroll
    for (int index = 0; index < STRIP; index++) {
        int row = first + index, time = row % TIME;
        const bool never_begins = TIME % STRIP == 0 && index >= 3; // known when it is compiled
        Four sum = {};
#pragma unroll
        for (int k = 0; k < TAPS; k++) {
            if (never_begins || k <= time) add_product(sum, inputs[3 + index - k], tap[k]);
        }
        if (row < ROWS) store(out + offset(row, column), sum);
    }
}
#endif

#ifdef CONVOLUTION_BACKWARD
// The gradients of `convolve`: of x, Σ_k taps[k] · gradient_(t + k) → out [ROWS, WIDTH]; and of the taps, Σ_t
// gradient_t · x_(t − k) over each block's share of the rows → parts [PARTS, 4 · WIDTH]. A thread has four columns of
// the rows of its group.
// Threads: 256. Grid: (PARTS, ⌈WIDTH / 256⌉).
constexpr int TAP_LANES = divide_up(WIDTH / 4, divide_up(WIDTH, 256));
constexpr int TAP_GROUPS = 256 / TAP_LANES;
constexpr int TAP_ROWS = divide_up(ROWS, PARTS * TAP_GROUPS); // of a group
constexpr int STEP = 4;

extern "C" __global__ void __launch_bounds__(256) convolve_backward(
    const float* __restrict__ x, const float* __restrict__ taps, const float* __restrict__ gradient,
    float* __restrict__ out, float* __restrict__ parts) {
    int group = threadIdx.x / TAP_LANES, column = (blockIdx.y * TAP_LANES + threadIdx.x % TAP_LANES) * 4;
    int first = (blockIdx.x * TAP_GROUPS + group) * TAP_ROWS, end = min(first + TAP_ROWS, ROWS);
    Four sums[TAPS] = {};
    if (group < TAP_GROUPS && column < WIDTH && first < end) {
        // Rows from 3 before the first of a step on, and gradients from its first on.
        Four tap[TAPS], inputs[TAPS - 1 + STEP], above[TAPS - 1 + STEP];
#pragma unroll
        for (int k = 0; k < TAPS; k++) tap[k] = load(taps + offset(k, column));
#pragma unroll
        for (int index = 0; index < 3; index++) {
            inputs[index] = load_row(x, first - 3 + index, column);
            above[index] = load_row(gradient, first + index, column);
        }
        for (int start = first; start < end; start += STEP) {
#pragma unroll
            for (int index = 0; index < STEP; index++) {
                inputs[3 + index] = load_row(x, start + index, column);
                above[3 + index] = load_row(gradient, start + 3 + index, column);
            }
#pragma unroll
            for (int index = 0; index < STEP; index++) {
                int row = start + index, time = row % TIME;
                if (row >= end) break;
                Four back = {};
#pragma unroll
                for (int k = 0; k < TAPS; k++) {
                    if (time + k < TIME) add_product(back, above[index + k], tap[k]);
                    if (k <= time) add_product(sums[k], above[index], inputs[3 + index - k]);
                }
                store(out + offset(row, column), back);
            }
#pragma unroll
            for (int index = 0; index < 3; index++) {
                inputs[index] = inputs[STEP + index];
                above[index] = above[STEP + index];
            }
        }
    }
    float own[4 * TAPS];
#pragma unroll
    for (int number = 0; number < 4 * TAPS; number++) own[number] = sums[number / 4].at[number % 4];
    sum_groups<256, TAP_LANES>(own, [&](int number, int lane, float sum) {
        int column = (blockIdx.y * TAP_LANES + lane) * 4 + number % 4;
        if (column < WIDTH) parts[offset(blockIdx.x * TAPS + number / 4, column)] = sum;
    });
}
#endif
#endif

#ifdef TABLE_GRADIENT
// The gradient of an embedding table: of each entry, SCALE · the sum of the rows of `gradient` [ROWS, WIDTH] whose
// token it is, over the part's range of rows → parts [PARTS, VOCABULARY, WIDTH]. A block has ENTRIES neighbouring
// entries: 1 where a vocabulary is small, so that frequent entries are quick; 16 where it is large, so that tokens are
// read less often. It lists which of CHUNK rows it needs, in order; then groups of lanes add these rows in turn.
// Threads: 256 if ENTRIES is 1, else 128. Grid: (⌈VOCABULARY / ENTRIES⌉, PARTS, ⌈WIDTH / (4 · threads)⌉).
constexpr int TABLE_THREADS = ENTRIES == 1 ? 256 : 128;
constexpr int TABLE_LANES = divide_up(WIDTH / 4, divide_up(WIDTH, 4 * TABLE_THREADS));
constexpr int TABLE_GROUPS = TABLE_THREADS / TABLE_LANES;
constexpr int CHUNK = 2048;
constexpr int LOOKS = CHUNK / TABLE_THREADS;
constexpr int UNDER_WAY = 8; // loads of a thread

extern "C" __global__ void __launch_bounds__(TABLE_THREADS) table_gradient(
    const int* __restrict__ tokens, const float* __restrict__ gradient, float* __restrict__ parts) {
    SHARED(Four, sums, ENTRIES * TABLE_THREADS);
    SHARED(int, list, CHUNK); // rows of the chunk, and their entries times CHUNK
    SHARED(int, counts, TABLE_THREADS / 32);
    // The parts of an entry start together: the frequent entries of text are low ones, and must not be the last.
    int block = blockIdx.y * gridDim.x + blockIdx.x, part = block % PARTS, first_entry = block / PARTS * ENTRIES;
    int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    int group = threadIdx.x / TABLE_LANES, column = (blockIdx.z * TABLE_LANES + threadIdx.x % TABLE_LANES) * 4;
    bool adds = group < TABLE_GROUPS && column < WIDTH;
    constexpr int RANGE = divide_up(ROWS, PARTS);
    int end = min((part + 1) * RANGE, ROWS);
#pragma unroll
    for (int entry = 0; entry < ENTRIES; entry++) sums[entry * TABLE_THREADS + threadIdx.x] = Four{};
    Four own = {}; // the sum, if there is one entry
    for (int start = part * RANGE; start < end; start += CHUNK) {
        int entries[LOOKS], count = 0;
        unsigned hits[LOOKS];
#pragma unroll
        for (int look = 0; look < LOOKS; look++) {
            int row = start + (warp * LOOKS + look) * 32 + lane;
            int token = tokens[min(row, ROWS - 1)];
            entries[look] = row < end ? token - first_entry : -1;
        }
#pragma unroll
        for (int look = 0; look < LOOKS; look++) {
            hits[look] = __ballot_sync(0xffffffffu, (unsigned)entries[look] < ENTRIES);
            count += __popc(hits[look]);
        }
        if (lane == 0) counts[warp] = count;
        __syncthreads();
        int place = 0, total = 0;
#pragma unroll
        for (int index = 0; index < TABLE_THREADS / 32; index++) {
            if (index == warp) place = total;
            total += counts[index];
        }
#pragma unroll
        for (int look = 0; look < LOOKS; look++) {
            int row = (warp * LOOKS + look) * 32 + lane, before = __popc(hits[look] & ((1u << lane) - 1));
            if (hits[look] >> lane & 1) list[place + before] = row + entries[look] * CHUNK;
            place += __popc(hits[look]);
        }
        __syncthreads();
        for (int item = group; adds && item < total; item += TABLE_GROUPS * UNDER_WAY) {
            Four rows[UNDER_WAY];
#pragma unroll
            for (int index = 0; index < UNDER_WAY; index++) {
                int at = item + index * TABLE_GROUPS, row = start + list[min(at, total - 1)] % CHUNK;
                rows[index] = Four{};
                if (at < total) rows[index] = load(gradient + offset(row, column));
            }
#pragma unroll
            for (int index = 0; index < UNDER_WAY; index++) {
                int at = min(item + index * TABLE_GROUPS, total - 1);
                Four& sum = ENTRIES == 1 ? own : sums[list[at] / CHUNK * TABLE_THREADS + threadIdx.x];
                add(sum, rows[index]);
            }
        }
        __syncthreads();
    }
    if (ENTRIES == 1) sums[threadIdx.x] = own;
    __syncthreads();
    for (int index = threadIdx.x; index < ENTRIES * TABLE_LANES; index += TABLE_THREADS) {
        int entry = index / TABLE_LANES, lane = index % TABLE_LANES, column = (blockIdx.z * TABLE_LANES + lane) * 4;
        if (first_entry + entry >= VOCABULARY || column >= WIDTH) continue;
        Four sum = {};
        for (int group = 0; group < TABLE_GROUPS; group++) {
            add(sum, sums[entry * TABLE_THREADS + group * TABLE_LANES + lane]);
        }
        size_t row = (size_t)part * VOCABULARY + first_entry + entry;
        store(parts + row * WIDTH + column, times(sum, SCALE));
    }
}
#endif

#ifdef COLUMN_SUMS
// Sums of the columns of x [ROWS, WIDTH] over each block's share of the rows → parts [PARTS, WIDTH]; WIDTH may be any
// number.
// Threads: 256. Grid: (PARTS, ⌈WIDTH / SUM_PIECE / 64⌉): SUM_PIECE is the greatest of 8, 4, 2 and 1 that divides WIDTH.
constexpr int SUM_PIECE = WIDTH % 8 == 0 ? 8 : WIDTH % 4 == 0 ? 4 : WIDTH % 2 == 0 ? 2 : 1;
constexpr int SUM_LANES = divide_up(WIDTH / SUM_PIECE, divide_up(WIDTH / SUM_PIECE, 64));
constexpr int SUM_GROUPS = 256 / SUM_LANES;

extern "C" __global__ void __launch_bounds__(256) column_sums(
    const bf16* __restrict__ x, float* __restrict__ parts) {
    constexpr int SHARE = divide_up(ROWS, PARTS);
    int group = threadIdx.x / SUM_LANES, column = (blockIdx.y * SUM_LANES + threadIdx.x % SUM_LANES) * SUM_PIECE;
    int end = min((int)(blockIdx.x + 1) * SHARE, ROWS);
    float sums[SUM_PIECE] = {};
    if (group < SUM_GROUPS && column < WIDTH) {
#pragma unroll 8
        for (int row = blockIdx.x * SHARE + group; row < end; row += SUM_GROUPS) {
            auto piece = *(const Piece<bf16, SUM_PIECE>*)(x + offset(row, column));
#pragma unroll
            for (int j = 0; j < SUM_PIECE; j++) sums[j] += from_bf16(piece.at[j]);
        }
    }
    sum_groups<256, SUM_LANES>(sums, [&](int number, int lane, float sum) {
        int column = (blockIdx.y * SUM_LANES + lane) * SUM_PIECE + number;
        if (column < WIDTH) parts[offset(blockIdx.x, column)] = sum;
    });
}
#endif

#ifdef ROUND
// x [COUNT] rounded to bf16 (CUDA has a `round` of its own). Threads: 256. Grid: (⌈COUNT / 2048⌉).
extern "C" __global__ void __launch_bounds__(256) round_to_bf16(const float* __restrict__ x, bf16* __restrict__ out) {
    size_t first = ((size_t)blockIdx.x * 256 + threadIdx.x) * 8;
    if (first + 8 <= COUNT) {
        Four low = load(x + first), high = load(x + first + 4);
        *(uint4*)(out + first) = make_uint4(
            pack_bf16(low.at[0], low.at[1]), pack_bf16(low.at[2], low.at[3]),
            pack_bf16(high.at[0], high.at[1]), pack_bf16(high.at[2], high.at[3]));
    } else {
        for (size_t at = first; at < COUNT; at++) out[at] = to_bf16(x[at]);
    }
}
#endif

#ifdef SUM_PARTS
// The sum of parts [PARTS, COUNT] → out [COUNT]. Many parts are summed in groups of neighbours, then the groups.
// Threads: 256. Grid: (⌈COUNT / (256 / ADD_GROUPS · ADD_PIECE)⌉), where ADD_PIECE is 4 if that divides COUNT, else 1.
constexpr int ADD_PIECE = COUNT % 4 == 0 ? 4 : 1;
constexpr int ADD_GROUPS = PARTS >= 64 ? 16 : PARTS >= 16 ? 4 : 1;
constexpr int ADD_LANES = 256 / ADD_GROUPS;

extern "C" __global__ void __launch_bounds__(256) sum_parts(
    const float* __restrict__ parts, float* __restrict__ out) {
    constexpr int SHARE = divide_up(PARTS, ADD_GROUPS);
    int begin = threadIdx.x / ADD_LANES * SHARE, end = min(begin + SHARE, PARTS);
    size_t first = (size_t)blockIdx.x * ADD_LANES * ADD_PIECE, at = first + threadIdx.x % ADD_LANES * ADD_PIECE;
    float sums[ADD_PIECE] = {};
    if (at < COUNT) {
#pragma unroll 8
        for (int part = begin; part < end; part++) {
            auto piece = *(const Piece<float, ADD_PIECE>*)(parts + (size_t)part * COUNT + at);
#pragma unroll
            for (int j = 0; j < ADD_PIECE; j++) sums[j] += piece.at[j];
        }
    }
    sum_groups<256, ADD_LANES>(sums, [&](int number, int lane, float sum) {
        size_t at = first + lane * ADD_PIECE + number;
        if (at < COUNT) out[at] = sum;
    });
}
#endif
