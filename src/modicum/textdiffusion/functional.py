"""The equations of SeqDiffuSeq as pure functions: noise, schedule, samplers, losses, and minimum Bayes risk by BLEU.

abar is the share of the signal that is left, here with a value for each time and target position. ``prediction`` is
what the network makes of the clean embeddings. Time 0 has the least noise; after it, at abar = 1, all is clean.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import torch
from scipy.sparse import csr_array
from torch import Tensor

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_RISE = 1e-5  # between the losses of two bins, and beyond the ends
_ORDER = 4  # longest n-gram of BLEU


def sqrt_alphas_cumprod(num_steps: int) -> Tensor:
    """Compute abar of the initial schedule "sqrt".

    f(u) = 1 - sqrt(u + 1e-4); beta_t = min(1 - f((t + 1) / T) / f(t / T), 0.999); abar is the product of 1 - beta.

    Args:
        num_steps: T.

    Returns:
        Float64, shape (T,), falling.

    Source:
        Li et al. 2022, Diffusion-LM; the released SeqDiffuSeq starts from it.
    """
    level = 1 - (torch.arange(num_steps + 1, dtype=torch.float64) / num_steps + 1e-4).sqrt()
    return (1 - (1 - level[1:] / level[:-1]).clamp(max=0.999)).cumprod(0)


def add_noise(clean: Tensor, noise: Tensor, abar: Tensor) -> Tensor:
    """Mix a clean sequence with noise: sqrt(abar) z_0 + sqrt(1 - abar) noise.

    Args:
        clean: z_0, shape (B, S, E).
        noise: standard normal, the same shape.
        abar: one that broadcasts to it, such as (B, S, 1).

    Returns:
        z_t, shape (B, S, E).
    """
    return abar.sqrt() * clean + (1 - abar).sqrt() * noise


def posterior(abar: Tensor, abar_next: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Give q(z_s | z_t, z_0) of a step from time t to a cleaner time s: N(a z_0 + b z_t, variance).

    Args:
        abar: at t, any shape.
        abar_next: at s, the same shape; 1 for the clean sequence, where the variance is 0.

    Returns:
        a, b and the variance, each of that shape.

    Source:
        Ho et al. 2020, equations 6 and 7, for a step of any length.
    """
    alpha = abar / abar_next
    return (
        (1 - alpha) * abar_next.sqrt() / (1 - abar),
        (1 - abar_next) * alpha.sqrt() / (1 - abar),
        (1 - alpha) * (1 - abar_next) / (1 - abar),
    )


def released_variance(table: Tensor) -> Tensor:
    """Give the variances that the released sampler uses by mistake: at time t that of time t // S, position t % S.

    The table of variances is flattened before time looks a row up in it.

    Args:
        table: abar, shape (T, S).

    Returns:
        Shape (T,), the same for all positions; that at time 0 is never used.

    Source:
        The released code; published samples, if made with it, are too cold at the start and twice too noisy later.
    """
    variance = posterior(table[1:], table[:-1])[2]
    return torch.cat([variance[:1], variance]).flatten()[: len(table)]


def ddim_step(sample: Tensor, prediction: Tensor, abar: Tensor, abar_next: Tensor) -> Tensor:
    """Step without noise, by the noise that the prediction implies.

    Args:
        sample: z_t, shape (B, S, E).
        prediction: of z_0, the same shape.
        abar: at t, one that broadcasts to it, such as (S, 1).
        abar_next: at the next time, likewise; 1 gives the prediction.

    Returns:
        Shape (B, S, E).

    Source:
        Song et al. 2021, equation 12 with eta = 0.
    """
    noise = (sample - abar.sqrt() * prediction) / (1 - abar).sqrt()
    return add_noise(prediction, noise, abar_next)


def dpmpp_2m_step(
    sample: Tensor,
    prediction: Tensor,
    abar: Tensor,
    abar_next: Tensor,
    previous: tuple[Tensor, Tensor] | None = None,
) -> Tensor:
    """Step by DPM-Solver++(2M), each position with its own step in lambda, from one network call.

    With lambda = log(sqrt(abar / (1 - abar))), and h and h' the steps in lambda of this and of the step before,
    D = prediction + h / (2 h') (prediction - that before), and z_s = sigma_s / sigma_t z_t - alpha_s (exp(-h) - 1) D.

    Args:
        sample: z_t, shape (B, S, E).
        prediction: of z_0, the same shape.
        abar: at t, one that broadcasts to it, such as (S, 1).
        abar_next: at the next time, likewise.
        previous: prediction and abar of the step before; without, or where ``abar_next`` is 1, the step has order 1,
            which is that of DDIM.

    Returns:
        Shape (B, S, E).

    Source:
        Lu et al. 2022 (arXiv:2211.01095), algorithm 2; a lambda for each position is ours.
    """
    if previous is not None:
        before, abar_before = previous
        earlier, now, later = (torch.logit(level) for level in (abar_before, abar, abar_next))  # 2 lambda
        ratio = (later - now) / (now - earlier)
        # Neither a step of infinite length is extrapolated, nor from one of none, as where a loss did not rise.
        ratio = torch.where((abar_next < 1) & (now > earlier), ratio, 0.0)
        prediction = prediction + (ratio / 2).to(prediction.dtype) * (prediction - before)
    # Of order 1 in the possibly extrapolated prediction: exp(-h) = sigma_s alpha_t / (alpha_s sigma_t).
    return ddim_step(sample, prediction, abar, abar_next)


def timestep_embedding(times: Tensor, dim: int) -> Tensor:
    """Embed times as [cos(t w), sin(t w)], w_j = 10000^(-j / (dim / 2)).

    Args:
        times: in [0, 1000), shape (B,).
        dim: even.

    Returns:
        Float32, shape (B, dim).

    Source:
        The released code, where a time is t * 1000 / T.
    """
    frequencies = torch.exp(-math.log(1e4) * torch.arange(dim // 2, device=times.device) / (dim // 2))
    angles = times.float()[:, None] * frequencies
    return torch.cat([angles.cos(), angles.sin()], dim=-1)


def denoising_loss(prediction: Tensor, noisy: Tensor, embedded: Tensor, times: Tensor) -> Tensor:
    """Compute the squared error of the prediction, to z_0, or at time 0 to the embeddings; mean over dimensions.

    Args:
        prediction: shape (B, S, E).
        noisy: z_0, the embeddings with their own noise, the same shape.
        embedded: E(w), the same shape.
        times: shape (B,).

    Returns:
        Shape (B, S).

    Source:
        The released code, after Diffusion-LM.
    """
    target = torch.where((times == 0)[:, None, None], embedded, noisy)
    return (target - prediction).square().mean(dim=-1)


def prior_loss(noisy: Tensor, abar_last: Tensor) -> Tensor:
    """Compute what is left of the signal at the last time: the mean of abar_T z_0^2.

    Args:
        noisy: z_0, shape (B, S, E).
        abar_last: shape (S,).
    """
    return (abar_last[:, None] * noisy.square()).mean()


def rising(losses: Tensor) -> Tensor:
    """Make the losses of the bins rise: L[k] = max(L[k], L[k - 1] + 1e-5), from the first on.

    Args:
        losses: mean loss by bin of time and position, shape (K, S).

    Returns:
        Shape (K, S).
    """
    slope = _RISE * torch.arange(len(losses), dtype=losses.dtype, device=losses.device)[:, None]
    return (losses - slope).cummax(dim=0).values + slope


def equal_difficulty(table: Tensor, losses: Tensor) -> Tensor:
    """Give the schedule in which the loss of each position rises by the same amount at each time.

    abar is read as a function of the loss: piecewise linear through its mean in each bin, with half a bin extrapolated
    at both ends, where the largest and the smallest abar of the table stand. It is sampled at T equally spaced losses.

    Args:
        table: abar, shape (T, S).
        losses: mean loss by bin and position, shape (K, S), where K divides T.

    Returns:
        Float64, shape (T, S); all positions, also the first, which `TokenNoiseSchedule` keeps.

    Source:
        Yuan et al. 2024, the token-level schedule, with the details of the released code.
    """
    bins, positions = losses.shape
    inner = rising(losses.double())
    knots = torch.cat([inner[:1] - (inner[1] - inner[0]) / 2, inner, inner[-1:] + (inner[-1] - inner[-2]) / 2])
    ends = table.new_ones(1, positions)
    levels = torch.cat([table.max() * ends, table.view(bins, -1, positions).mean(dim=1), table.min() * ends])
    low, high = knots.amin(dim=0) - _RISE, knots.amax(dim=0) + _RISE
    wanted = np.linspace(low.cpu().numpy(), high.cpu().numpy(), len(table), axis=1)
    columns = [np.interp(*rows) for rows in zip(wanted, knots.T.cpu(), levels.T.cpu(), strict=True)]
    return torch.from_numpy(np.stack(columns, axis=1)).to(table.device)


def ngram_matches(tokens: Integers) -> tuple[Integers, Integers]:
    """Count the n-grams that each pair of candidates of a source has in common, clipped as BLEU does.

    An n-gram that a candidate has for the k-th time is a column of its own in a matrix of zeros and ones; the product
    of that matrix with its transpose is then the sum of the smaller counts.

    Args:
        tokens: of N sources with K candidates each, at least 0, and -1 behind the end; shape (N, K, L).

    Returns:
        The matches of n = 1 to 4, shape (N, K, K, 4), and the lengths, shape (N, K).
    """
    sets, count, length = tokens.shape
    flat = tokens.reshape(sets * count, length)
    lengths = (flat >= 0).sum(axis=1)
    matches = np.zeros((sets, count, count, _ORDER), dtype=np.int64)
    grams = flat
    for order in range(1, min(_ORDER, length) + 1):
        if order > 1:  # the number of a gram is that of (the gram without its last token, that token)
            pairs = grams[:, :-1] * (flat.max() + 2) + flat[:, order - 1 :] + 1
            grams = np.unique(pairs, return_inverse=True)[1].reshape(pairs.shape)
        rows, starts = np.nonzero(np.arange(grams.shape[1]) + order <= lengths[:, None])
        if not len(rows):
            break
        found = grams[rows, starts]
        by_gram = np.lexsort((found, rows))
        rows, found = rows[by_gram], found[by_gram]
        first = np.r_[True, (np.diff(rows) != 0) | (np.diff(found) != 0)]
        times = np.arange(len(rows)) - np.maximum.accumulate(np.where(first, np.arange(len(rows)), 0))
        codes = ((rows // count) * (found.max() + 1) + found) * length + times  # columns of one source alone
        columns = np.unique(codes, return_inverse=True)[1]
        held = csr_array((np.ones(len(rows), dtype=np.int64), (rows, columns)), shape=(len(flat), columns.max() + 1))
        common = (held @ held.T).tocoo()
        left, right = common.coords
        matches[left // count, left % count, right % count, order - 1] = common.data
    return matches, lengths.reshape(sets, count)


def pairwise_bleu(tokens: Integers) -> Floats:
    """Compute sentence BLEU of each candidate against each other one of its source, bit for bit as sacrebleu does.

    Args:
        tokens: as for `ngram_matches`.

    Returns:
        BLEU in [0, 100] of hypothesis i against reference j, shape (N, K, K).

    Source:
        sentence_bleu of sacrebleu with its defaults: exponential smoothing and effective order.
    """
    matches, lengths = ngram_matches(tokens)
    hypothesis, reference = np.broadcast_arrays(lengths[:, :, None], lengths[:, None, :])
    keys = (*np.moveaxis(matches, -1, 0), hypothesis, reference)
    first = back = np.zeros(hypothesis.size, dtype=np.int64)
    for key in keys:  # one after the other: all six as one number overflow in long texts
        codes = back * (tokens.shape[2] + 1) + key.ravel()
        _, first, back = np.unique(codes, return_index=True, return_inverse=True)
    # Few pairs differ in these six integers. Logarithms by libm and not by numpy's own, whose last bit depends on the
    # processor: a tie that the loop sees must be one here.
    rows = np.stack([key.ravel()[first] for key in keys], axis=1).tolist()
    scores = np.array([_sentence_bleu(row[:_ORDER], *row[_ORDER:]) for row in rows])
    return scores[back].reshape(hypothesis.shape)


def _sentence_bleu(matches: list[int], hypothesis: int, reference: int) -> float:
    """Compute BLEU from the matches and the two lengths."""
    if not matches[0]:  # then there are none of longer n-grams either
        return 0.0
    logarithms: list[float] = []
    halvings = 1.0
    for order, found in enumerate(matches):
        total = hypothesis - order
        if total < 1:
            break
        halvings *= 1 if found else 2
        logarithms.append(math.log(100.0 * found / total if found else 100.0 / (halvings * total)))
    brevity = math.exp(1 - reference / hypothesis) if hypothesis < reference else 1.0
    return brevity * math.exp(sum(logarithms) / len(logarithms))


def minimum_bayes_risk(similarity: Floats) -> Integers:
    """Choose for each source the candidate with the largest sum of similarities to the others; of equals the first.

    Args:
        similarity: of hypothesis i to reference j, shape (N, K, K).

    Returns:
        Indices, shape (N,).

    Source:
        Kumar and Byrne 2004; summed over j in order, so that rounding is that of a loop.
    """
    total = np.zeros(similarity.shape[:2])
    own = np.arange(similarity.shape[1])
    for other in own:
        total += np.where(own == other, 0.0, similarity[:, :, other])
    return total.argmax(axis=1)
