"""Cross-entropies and their gradients, number by number in float64: slow, obvious, without TensorFlow."""

import math

import numpy as np


def log_softmax(row):
    largest = max(row)
    log_sum = math.log(sum(math.exp(x - largest) for x in row))
    return [x - largest - log_sum for x in row]


def softmax(row):
    return [math.exp(x) for x in log_softmax(row)]


def cross_entropy(targets, row):
    """Of one row: -sum_y target_y log P_y, and its gradient by the logits where the targets sum to 1."""
    loss = -sum(t * x for t, x in zip(targets, log_softmax(row)) if t > 0)
    return loss, [p - t for p, t in zip(softmax(row), targets)]


def labeled(logits, labels, smoothing=0.0):
    """[b] losses and [b, c] gradients of their sum."""
    results = []
    for row, label in zip(np.float64(logits), labels):
        classes = len(row)
        targets = [smoothing / classes + (1 - smoothing) * (y == label) for y in range(classes)]
        results.append(cross_entropy(targets, row))
    return _stacked(results)


def distilled(student_logits, teacher_logits, temperature):
    """[b] losses and [b, c] gradients of their sum by the student's logits."""
    results = []
    for student, teacher in zip(np.float64(student_logits), np.float64(teacher_logits)):
        loss, gradient = cross_entropy(softmax(teacher / temperature), student / temperature)
        results.append((loss, [g / temperature for g in gradient]))
    return _stacked(results)


def combined(alpha, temperature, student, teacher, labeled_logits, labels):
    """Equation 3: the loss, and its gradients by the logits of the unlabeled and of the labeled stream."""
    taught, by_student = distilled(student, teacher, temperature)
    known = [row for row, label in enumerate(labels) if label >= 0]
    losses, gradients = labeled(labeled_logits[known], labels[known])
    by_labeled = np.zeros_like(labeled_logits)
    by_labeled[known] = (1 - alpha) * gradients / len(known)
    loss = (1 - alpha) * sum(losses) / len(known) + alpha * sum(taught) / len(taught)
    return loss, alpha * by_student / len(taught), by_labeled


def _stacked(results):
    losses, gradients = zip(*results)
    return np.array(losses), np.array(gradients)
