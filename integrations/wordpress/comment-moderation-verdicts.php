<?php
/**
 * Plugin Name: Verdicts for Akismet before 5.3
 * Description: Follows verdicts that were made in a comment moderation service. Akismet 5.3 and later does so itself.
 * Version: 1.0
 * License: Apache-2.0
 *
 * Put this file beside comment-moderation.php. Where the Akismet plugin has the route itself, this does nothing.
 */

defined( 'ABSPATH' ) || exit;

/** The name that the service gave to the comment that was checked last in this request. */
$comment_moderation_guid = '';

add_action(
	'akismet_comment_check_response',
	function ( $response ) {
		global $comment_moderation_guid;
		$guid                    = isset( $response[0]['x-akismet-guid'] ) ? $response[0]['x-akismet-guid'] : '';
		$comment_moderation_guid = is_string( $guid ) && preg_match( '/^[0-9A-Za-z_-]{8,64}$/', $guid ) ? $guid : '';
	}
);

add_action(
	'wp_insert_comment',
	function ( $id, $comment ) {
		global $comment_moderation_guid;
		if ( '' !== $comment_moderation_guid && class_exists( 'Akismet' ) && Akismet::matches_last_comment( $comment ) ) {
			add_comment_meta( $id, 'akismet_guid', $comment_moderation_guid, true );
			$comment_moderation_guid = '';
		}
	},
	20,
	2
);

add_action(
	'rest_api_init',
	function () {
		if ( ! class_exists( 'Akismet' ) || array_key_exists( '/akismet/v1/webhook', rest_get_server()->get_routes() ) ) {
			return;
		}
		$may_call = function ( $request ) {
			$key   = (string) Akismet::get_api_key();
			$given = $request->get_param( 'key' );
			return '' !== $key && is_string( $given ) && hash_equals( strtolower( $key ), strtolower( $given ) );
		};
		$route    = array(
			'methods'             => 'POST',
			'callback'            => 'comment_moderation_hear',
			'permission_callback' => $may_call,
		);
		register_rest_route( 'akismet/v1', '/webhook', $route );
	},
	20
);

/** Do what each verdict says, but never undo what somebody here has decided. */
function comment_moderation_hear( $request ) {
	$told     = $request->get_param( 'comments' );
	$comments = array();
	foreach ( is_array( $told ) ? $told : array() as $verdict ) {
		$guid = isset( $verdict['guid'] ) && is_string( $verdict['guid'] ) ? $verdict['guid'] : '';
		if ( '' === $guid ) {
			continue;
		}
		$found = get_comments(
			array(
				'status'     => 'any',
				'meta_key'   => 'akismet_guid',
				'meta_value' => $guid,
			)
		);
		if ( 1 !== count( $found ) ) {
			$comments[ $guid ] = array(
				'status'  => 'error',
				'message' => 'There is not exactly one such comment.',
			);
			continue;
		}
		comment_moderation_follow( $found[0], isset( $verdict['result'] ) ? $verdict['result'] : '' );
		$comments[ $guid ] = array( 'status' => 'success' );
	}
	return rest_ensure_response( array( 'comments' => (object) $comments ) );
}

function comment_moderation_follow( $comment, $result ) {
	$status = wp_get_comment_status( $comment );
	if ( 'trash' === $status || get_comment_meta( $comment->comment_ID, 'akismet_user_result', true ) ) {
		return;
	}
	if ( 'true' === $result && 'spam' !== $status ) {
		wp_spam_comment( $comment );
	} elseif ( 'false' === $result && 'spam' === $status ) {
		wp_unspam_comment( $comment );
	}
}
