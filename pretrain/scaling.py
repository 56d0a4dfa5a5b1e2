"""What published scaling laws expect of a model and its data. Standard library only.

Each law was fitted to one laboratory's text and tokenizer: its loss is in nats a token of those, and a guide, not a
promise, for any other.
"""

from __future__ import annotations

CHINCHILLA_TOKENS_PER_PARAMETER = 20


def kaplan_loss(parameters: float, tokens: float) -> float:
    """L(N, D) of Kaplan et al. 2020, equation 1.5, in nats a token of WebText2 (GPT-2's 50,257 ids).

    L = ((N_c / N)^(alpha_N / alpha_D) + D_c / D)^alpha_D, N without embeddings and positions. Constants of equations
    1.1 and 1.2; the paper's joint fit (its table 2: alpha_D 0.103, N_c 6.4e13, D_c 1.8e13) gives 2 to 5 % less.

    >>> round(kaplan_loss(8.8e13, 5.4e13), 4)  # 2 ^ 0.095
    1.0681
    """
    alpha_n, alpha_d, n_c, d_c = 0.076, 0.095, 8.8e13, 5.4e13
    return float(((n_c / parameters) ** (alpha_n / alpha_d) + d_c / tokens) ** alpha_d)


def chinchilla_loss(parameters: float, tokens: float) -> float:
    """L(N, D) of Hoffmann et al. 2022, section 3.3: the parametric fit ("approach 3"), in nats a token of MassiveText.

    L = 1.69 + 406.4 / N^0.34 + 410.7 / D^0.28, N with embeddings. The constants as printed: they are rounded, and do
    not reproduce the paper's own table A3 (Besiroglu et al. 2024).

    >>> round(chinchilla_loss(1e9, 20e9), 4)
    2.58
    """
    return float(1.69 + 406.4 / parameters**0.34 + 410.7 / tokens**0.28)


def chinchilla_tokens(parameters: int) -> int:
    """Tokens for which a model of this size is the best use of the compute: 20 a parameter.

    The rule of Hoffmann et al. 2022, approach 1 (table 3: 8.0B tokens for 400M parameters, 20.2B for 1B, 1.5T for
    67B); approach 2 says about the same. The parametric fit of `chinchilla_loss`, as printed, asks for more: 36 a
    parameter for 400M, 108 for 67B.

    >>> chinchilla_tokens(1_000_000_000)
    20000000000
    """
    return CHINCHILLA_TOKENS_PER_PARAMETER * parameters
