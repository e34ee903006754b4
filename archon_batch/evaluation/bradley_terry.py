"""Strengths of players from who beat whom (Bradley and Terry, 1952)."""

import math
from collections import defaultdict
from collections.abc import Mapping

#: Rounds, and the change of a log strength at which it has settled.
_ROUNDS, _SETTLED = 10_000, 1e-10


def fit_log_strengths(wins: Mapping[tuple[str, str], float]) -> Mapping[str, float]:
    """The most likely log strengths, their mean 0, by the algorithm of Hunter (2004).

    Args:
        wins: how often the first of a pair beat the second; a tie is half a win for each.

    Raises:
        ValueError: no figure is the likeliest, since some players never lost to the others.
    """
    players = sorted({player for pair in wins for player in pair})
    won: dict[str, float] = defaultdict(float)
    games: dict[str, dict[str, float]] = {player: defaultdict(float) for player in players}
    for (winner, loser), times in wins.items():
        won[winner] += times
        games[winner][loser] += times
        games[loser][winner] += times
    _check_connected(players, wins)
    level = dict.fromkeys(players, 1.0)
    for _ in range(_ROUNDS):
        new = {
            player: won[player]
            / sum(n / (level[player] + level[o]) for o, n in games[player].items())
            for player in players
        }
        middle = math.exp(sum(map(math.log, new.values())) / len(new))
        new = {player: value / middle for player, value in new.items()}
        moved = max(abs(math.log(new[player] / level[player])) for player in players)
        level = new
        if moved < _SETTLED:
            break
    return {player: math.log(value) for player, value in level.items()}


def win_rate(log_strengths: Mapping[str, float], player: str, opponent: str) -> float:
    """How likely the player beats the other."""
    return 1 / (1 + math.exp(log_strengths[opponent] - log_strengths[player]))


def _check_connected(players: list[str], wins: Mapping[tuple[str, str], float]) -> None:
    """Every player must have lost to some other, over however many (Ford, 1957)."""
    beaten: dict[str, set[str]] = defaultdict(set)
    losers: dict[str, set[str]] = defaultdict(set)
    for (winner, loser), times in wins.items():
        if times > 0:
            beaten[winner].add(loser)
            losers[loser].add(winner)
    for reached in (_reachable(players, beaten), _reachable(players, losers)):
        if missing := set(players) - reached:
            raise ValueError(f"no win or no loss ties {', '.join(sorted(missing))} to the others")


def _reachable(players: list[str], steps: Mapping[str, set[str]]) -> set[str]:
    seen, left = set(players[:1]), players[:1]
    while left:
        for other in steps.get(left.pop(), set()) - seen:
            seen.add(other)
            left.append(other)
    return seen
