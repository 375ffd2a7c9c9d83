<?php
/**
 * Plugin Name: Comment moderation for Akismet
 * Description: Sends what the Akismet plugin asks to a comment moderation service of your own.
 * Version: 1.0
 * License: Apache-2.0
 *
 * Put this file into wp-content/mu-plugins/ and fill in Settings > Comment moderation. The Akismet plugin stays as it is.
 */

defined( 'ABSPATH' ) || exit;

const COMMENT_MODERATION_OPTION = 'comment_moderation';

/** What was filled in: the address of the service and the site's key, or empty texts. */
function comment_moderation_setting( $name ) {
	$set = get_option( COMMENT_MODERATION_OPTION );
	return is_array( $set ) && isset( $set[ $name ] ) ? (string) $set[ $name ] : '';
}

/**
 * The key as the Akismet plugin knows it. It takes only keys of 12 signs, so it gets one that is made from the real one
 * and does not tell it.
 */
function comment_moderation_short_key() {
	$key = comment_moderation_setting( 'key' );
	return '' === $key ? '' : substr( hash_hmac( 'sha256', 'akismet', $key ), 0, 12 );
}

function comment_moderation_is_set() {
	$url = comment_moderation_setting( 'url' );
	return '' !== $url && ! comment_moderation_is_akismet( $url ) && '' !== comment_moderation_setting( 'key' );
}

/** Whether an address is one of Akismet itself. Requests to it would be led to themselves, for ever. */
function comment_moderation_is_akismet( $url ) {
	$host = strtolower( (string) wp_parse_url( $url, PHP_URL_HOST ) );
	return 1 === preg_match( '/(^|\.)akismet\.com\.?$/', $host );
}

add_filter(
	'akismet_get_api_key',
	function ( $key ) {
		return comment_moderation_is_set() ? comment_moderation_short_key() : $key;
	}
);

/** Requests to Akismet go to the service, with the real key. */
add_filter(
	'pre_http_request',
	function ( $answer, $args, $url ) {
		$parts = wp_parse_url( $url );
		$host  = isset( $parts['host'] ) ? strtolower( $parts['host'] ) : '';
		if ( ! preg_match( '/^(?:([0-9a-z]+)\.)?rest\.akismet\.com$/', $host, $found ) || ! comment_moderation_is_set() ) {
			return $answer;
		}
		$short = comment_moderation_short_key();
		$real  = comment_moderation_setting( 'key' );
		$query = isset( $parts['query'] ) ? $parts['query'] : '';
		$body  = is_array( $args['body'] ) ? http_build_query( $args['body'], '', '&' ) : (string) $args['body'];
		// Of a field that stands there twice the service takes the last, and that of the body before that of the address.
		$said = implode( '&', array_filter( array( $query, $body ), 'strlen' ) );
		$said = preg_replace( '/(^|&)(api_key|key)=' . $short . '(?=&|$)/', '$1$2=' . $real, $said, -1, $has_key );
		if ( isset( $found[1] ) && $found[1] === $short ) {
			$said   .= ( '' === $said ? '' : '&' ) . 'api_key=' . $real; // Plugins before 5.0 write the key before the host.
			$has_key = true;
		}
		if ( $has_key ) {
			// Whatever the plugin asks by an address goes in the body of a POST, which is in no log of a server.
			$args['method'] = 'POST';
			$args['body']   = $said;
			$query          = '';
		}
		unset( $args['headers']['Host'], $args['headers']['host'] );
		$path = ( isset( $parts['path'] ) ? $parts['path'] : '/' ) . ( '' === $query ? '' : '?' . $query );
		return wp_remote_request( comment_moderation_setting( 'url' ) . $path, $args );
	},
	10,
	3
);

// The screen under Settings.

/** The address without a slash at its end; the key in small letters, unless it is of the form that has capitals. */
function comment_moderation_read( $given ) {
	$given = is_array( $given ) ? $given : array();
	$url   = isset( $given['url'] ) ? untrailingslashit( esc_url_raw( trim( $given['url'] ), array( 'http', 'https' ) ) ) : '';
	$key   = isset( $given['key'] ) ? trim( $given['key'] ) : '';
	$key   = 0 === strpos( $key, 'mod_' ) ? $key : strtolower( $key );
	if ( comment_moderation_is_akismet( $url ) ) {
		$hint = __( 'That is the address of Akismet itself. Enter that of your own moderation service, such as https://moderation.example.org.' );
		add_settings_error( COMMENT_MODERATION_OPTION, 'url', $hint );
		$url = comment_moderation_setting( 'url' );
	}
	if ( '' === $key ) {
		$key = comment_moderation_setting( 'key' ); // The screen does not show it, so that empty means: as before.
	}
	if ( ! preg_match( '/^[0-9A-Za-z_-]*$/', $key ) ) {
		add_settings_error( COMMENT_MODERATION_OPTION, 'key', __( 'This is no key of the service.' ) );
		$key = comment_moderation_setting( 'key' );
	}
	return array(
		'url' => $url,
		'key' => $key,
	);
}

/** What the service says about the key, in a sentence. */
function comment_moderation_state() {
	if ( ! comment_moderation_is_set() ) {
		return __( 'Not filled in: the Akismet plugin asks Akismet.' );
	}
	$asked  = array( 'body' => array( 'key' => comment_moderation_setting( 'key' ), 'blog' => home_url() ) );
	$answer = wp_remote_post( comment_moderation_setting( 'url' ) . '/1.1/verify-key', $asked );
	if ( is_wp_error( $answer ) ) {
		return __( 'The service cannot be reached.' );
	}
	$said = wp_remote_retrieve_body( $answer );
	if ( 'valid' === $said ) {
		return __( 'The service is reached and takes the key.' );
	}
	return 'invalid' === $said ? __( 'The service does not know this key.' ) : __( 'What answers there is not the service.' );
}

add_action(
	'admin_init',
	function () {
		$settings = array( 'sanitize_callback' => 'comment_moderation_read' );
		register_setting( COMMENT_MODERATION_OPTION, COMMENT_MODERATION_OPTION, $settings );
	}
);

add_action(
	'admin_menu',
	function () {
		$title = __( 'Comment moderation' );
		add_options_page( $title, $title, 'manage_options', 'comment-moderation', 'comment_moderation_show' );
	}
);

function comment_moderation_show() {
	$name = COMMENT_MODERATION_OPTION;
	$hook = get_rest_url( null, 'akismet/v1/webhook' );
	$site = preg_replace( '/[^!-~]/', '', home_url() );
	$tell = "moderation webhooks add '$hook' --site '$site' --format akismet --key " . comment_moderation_short_key();
	?>
	<div class="wrap">
		<h1><?php esc_html_e( 'Comment moderation' ); ?></h1>
		<form method="post" action="options.php">
			<?php settings_fields( $name ); ?>
			<table class="form-table" role="presentation">
				<tr><th scope="row"><label for="cm-url"><?php esc_html_e( 'Address of the service' ); ?></label></th>
					<td><input class="regular-text" type="url" id="cm-url" name="<?php echo esc_attr( $name ); ?>[url]"
						value="<?php echo esc_attr( comment_moderation_setting( 'url' ) ); ?>" placeholder="https://moderation.example.org"></td></tr>
				<tr><th scope="row"><label for="cm-key"><?php esc_html_e( 'Key of this site' ); ?></label></th>
					<td><input class="regular-text" type="password" autocomplete="off" id="cm-key" name="<?php echo esc_attr( $name ); ?>[key]"
						placeholder="<?php echo esc_attr( '' === comment_moderation_setting( 'key' ) ? '' : __( 'kept as it is' ) ); ?>"></td></tr>
				<tr><th scope="row"><?php esc_html_e( 'State' ); ?></th><td><?php echo esc_html( comment_moderation_state() ); ?></td></tr>
				<?php if ( comment_moderation_is_set() ) : ?>
				<tr><th scope="row"><?php esc_html_e( 'Verdicts made there' ); ?></th>
					<td><p><?php esc_html_e( 'To have them followed here, run once where the service runs:' ); ?></p><code><?php echo esc_html( $tell ); ?></code></td></tr>
				<?php endif; ?>
			</table>
			<?php submit_button(); ?>
		</form>
	</div>
	<?php
}
